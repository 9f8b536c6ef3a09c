"""Real layouts of public data sets and of exports, read by a mapping of columns alone."""

import bz2
import gzip
import json
import lzma

import pandas as pd
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from tests.input_tables.public_sets import events, topics, write
from tests.input_tables.table_import import accepted, call, refused

RETAIL = {
    "events.csv": "timestamp,visitorid,event,itemid,transactionid\n"
    "1433221332117,257597,view,355908,\n1433224214164,992329,view,248676,\n"
    "1433221955914,483717,transaction,318965,4000\n",
    "item_properties_part1.csv": "timestamp,itemid,property,value\n"
    "1435460400000,355908,categoryid,1338\n1441508400000,248676,888,1116713 n277.200\n",
    "item_properties_part2.csv": "timestamp,itemid,property,value\n"
    "1433041200000,318965,categoryid,1114\n1435460400000,318965,categoryid,1115\n"
    "1435460400000,318965,categoryid,1114\n1435460400000,248676,categoryid,9\n",
}
RETAIL_MAP = ("--map", "user_id=visitorid,item_id=itemid,timestamp=timestamp,action=event")


def test_retailrocket(tmp_path):
    source = write(tmp_path / "s", RETAIL)
    said, told, tables = accepted(
        tmp_path / "o",
        source / "events.csv",
        *RETAIL_MAP,
        *("--time-unit", "ms"),
        *("--items", source / "item_properties_part1.csv"),
        *("--items", source / "item_properties_part2.csv"),
        *("--items-map", "item_id=itemid,topics=value", "--items-where", "property=categoryid"),
    )
    assert events(tables)[0] == ("257597", "355908", 1433221332, "view")
    assert topics(tables) == {"355908": ["1338"], "318965": ["1114", "1115"], "248676": ["9"]}
    counts = told["tables"]["items"]
    assert (counts["read"], counts["left_out"], counts["merged"]) == (6, 1, 2)
    assert "1433221332 (2015-06-02 05:02:12 UTC)" in said
    assert "events.csv: text separated by commas, a header" in said
    assert told["warnings"] == []


def test_the_same_from_a_mapping_file_and_from_what_an_import_wrote(tmp_path):
    source = write(tmp_path / "s", RETAIL)
    mapping = """
files: events.csv
map: {user_id: visitorid, item_id: itemid, timestamp: timestamp, action: event}
time_unit: ms
items:
  files: [item_properties_part1.csv, item_properties_part2.csv]
  map: {item_id: itemid, topics: value}
  where: {property: categoryid}
"""
    (source / "shop.yaml").write_text(mapping)
    _, first, tables = accepted(tmp_path / "o", "--mapping", source / "shop.yaml")
    assert len(events(tables)) == 3 and topics(tables)["318965"] == ["1114", "1115"]
    _, again, _ = accepted(tmp_path / "p", "--mapping", tmp_path / "o" / "source.json")
    assert again == first
    _, _, other = accepted(
        tmp_path / "q", "--mapping", source / "shop.yaml", "--where", "event=view"
    )
    assert [e[3] for e in events(other)] == ["view", "view"]


def test_a_dry_run_shows_the_first_rows_and_writes_nothing(tmp_path):
    rows = "".join(f"{1433221332117 + n},u{n},view,i1,\n" for n in range(70_000))
    source = write(tmp_path / "s", {"e.csv": RETAIL["events.csv"] + rows}) / "e.csv"
    code, said = call(source, *RETAIL_MAP, "--time-unit", "ms", "--dry-run")
    assert code == 0
    assert "engagements: 65,536 rows read from 65,537 lines" in said
    assert "1433221332 (2015-06-02 05:02:12 UTC)" in said
    assert "nothing written" in said
    assert [path.name for path in tmp_path.iterdir()] == ["s"]
    code, said = call(source, *RETAIL_MAP)
    assert code == 2 and "--out" in said


HM_ITEMS = "article_id,product_code,prod_name,product_type_name,garment_group_name\n"


def test_h_and_m(tmp_path):
    source = write(
        tmp_path / "s",
        {
            "transactions_train.csv": "t_dat,customer_id,article_id,price,sales_channel_id\n"
            "2018-09-20,000058a1,0663713001,0.0508,2\n2018-09-21,000058a1,0541518023,0.03,1\n",
            "articles.csv": HM_ITEMS
            + '0663713001,0663713,"Atlanta ""Push"" Body, long",Underwear body,"Under, Nightwear"\n'
            "0541518023,0541518,Rae,Bra,Jersey Basic\n",
        },
    )
    _, told, tables = accepted(
        tmp_path / "o",
        source / "transactions_train.csv",
        *("--map", "user_id=customer_id,item_id=article_id,timestamp=t_dat"),
        *("--time-unit", "iso", "--action", "buy"),
        *("--items", source / "articles.csv", "--topics-separator", "none"),
        *("--items-map", "item_id=article_id,title=prod_name"),
        *("--items-map", "topics=product_type_name+garment_group_name"),
    )
    assert events(tables)[0] == ("000058a1", "0663713001", 1537401600, "buy")
    assert topics(tables)["0663713001"] == ["Underwear body", "Under, Nightwear"]
    assert tables["items"][0]["title"] == 'Atlanta "Push" Body, long'
    assert told["warnings"] == []


def test_steam_without_a_header_and_without_times(tmp_path):
    text = (
        '151603712,"The Elder Scrolls V Skyrim",purchase,1.0,0\n'
        '151603712,"The Elder Scrolls V Skyrim",play,273.0,0\n'
        "151603712,Fallout 4,purchase,1.0,0\n187131847,Dota 2,play,0.5,0\n"
    )
    source = write(tmp_path / "s", {"steam-200k.csv": text}) / "steam-200k.csv"
    mapped = ("--map", "user_id=user,item_id=game,action=behavior", "--columns")
    said, told, tables = accepted(
        tmp_path / "o",
        *(source, *mapped, "user,game,behavior,hours,zero"),
        *("--items-map", "item_id=game,title=game"),
    )
    assert told["time_unit"] == "order"
    assert events(tables) == [
        ("151603712", "The Elder Scrolls V Skyrim", 0, "purchase"),
        ("151603712", "The Elder Scrolls V Skyrim", 1, "play"),
        ("151603712", "Fallout 4", 2, "purchase"),
        ("187131847", "Dota 2", 0, "play"),
    ]
    assert len(tables["items"]) == 3 and told["tables"]["items"]["merged"] == 1
    assert "position in the user's rows" in said
    refused(tmp_path / "p", source, *mapped, "user,game,behavior", told="5 fields")


def test_steam_recommendations_and_metadata_as_json_lines(tmp_path):
    games = [
        {"app_id": 975370, "description": "", "tags": ["Colony Sim", "Co-op"]},
        {"app_id": 304390, "description": "Sword\u2028fights", "tags": []},
    ]
    source = write(
        tmp_path / "s",
        {
            "recommendations.csv": "app_id,helpful,funny,date,is_recommended,hours,user_id,"
            "review_id\n975370,0,0,2022-12-12,true,36.3,51580,0\n304390,4,0,2017-02-17,false,11.5,2586,1\n",
            "games_metadata.json": "".join(json.dumps(game) + "\n" for game in games),
        },
    )
    _, told, tables = accepted(
        tmp_path / "o",
        source / "recommendations.csv",
        *("--map", "user_id=user_id,item_id=app_id,timestamp=date,action=is_recommended"),
        *("--time-unit", "iso", "--items", source / "games_metadata.json"),
        *("--items-map", "item_id=app_id,topics=tags,title=description"),
    )
    assert events(tables)[1] == ("2586", "304390", 1487289600, "false")
    assert topics(tables) == {"975370": ["Colony Sim", "Co-op"], "304390": []}
    assert tables["items"][1]["title"] == "Sword\u2028fights"
    assert "JSON lines" in told["tables"]["items"]["formats"].values()


def test_steam_reviews_as_python_objects(tmp_path):
    text = (
        "{u'username': u'Chaos \"K\" Syren', u'hours': 0.1, u'date': u'2017-12-17', "
        "u'product_id': u'725280', u'early_access': False}\n"
        "{u'username': u'ItsMe', u'date': u'2017-12-18', u'product_id': u'328100'}\n"
    )
    source = write(tmp_path / "s", {"steam_reviews.json.gz": gzip.compress(text.encode())})
    _, told, tables = accepted(
        tmp_path / "o",
        source / "steam_reviews.json.gz",
        *("--map", "user_id=username,item_id=product_id,timestamp=date"),
        *("--time-unit", "iso", "--action", "review"),
    )
    assert events(tables)[0] == ('Chaos "K" Syren', "725280", 1513468800, "review")
    assert "no catalogue" in " ".join(told["notes"])


def test_lastfm_plays(tmp_path):
    text = (
        "user_000001\t2009-05-04T23:08:57Z\tf1b1cf71\tDeep Dish\t\tFuck Me Im Famous\n"
        'user_000001\t2009-05-04T13:54:10Z\ta7f7df4a\t"Weird Al" Yankovic\t\tEat It 12" Mix\n'
        "user_000002\t2009-05-04T13:52:04Z\ta7f7df4a\tUnderworld\tx\tBorn\x0bSlippy\n"
    )
    source = write(tmp_path / "s", {"plays.tsv": text})
    _, told, tables = accepted(
        tmp_path / "o",
        source / "plays.tsv",
        *("--columns", "user,time,artist,name,track,title"),
        *("--map", "user_id=user,item_id=artist,timestamp=time", "--time-unit", "iso"),
        *("--action", "listen", "--items-map", "item_id=artist,title=name"),
    )
    assert events(tables)[1] == ("user_000001", "a7f7df4a", 1241445250, "listen")
    assert tables["items"][1]["title"] == '"Weird Al" Yankovic'
    assert told["tables"]["engagements"]["refused"] == 0


def test_lastfm_tags_as_topics_and_follows(tmp_path):
    source = write(
        tmp_path / "s",
        {
            "user_artists.dat": "userID\tartistID\tweight\n2\t51\t13883\n3\t52\t11690\n",
            "user_taggedartists-timestamps.dat": "userID\tartistID\ttagID\ttimestamp\n"
            "2\t52\t13\t1238536800000\n2\t52\t15\t1238536800000\n3\t51\t13\t1238536800000\n",
        },
    )
    tagged = source / "user_taggedartists-timestamps.dat"
    mapping = f"""
files: {source / "user_artists.dat"}
map: {{user_id: userID, item_id: artistID}}
action: listen
items: {{files: {tagged}, map: {{item_id: artistID, topics: tagID}}}}
follows:
  files: {tagged}
  map: {{user_id: userID, topic: tagID, timestamp: timestamp}}
  time_unit: ms
"""
    (source / "m.yaml").write_text(mapping)
    _, _, tables = accepted(tmp_path / "o", "--mapping", source / "m.yaml")
    assert topics(tables) == {"52": ["13", "15"], "51": ["13"]}
    found = [(r["user_id"], r["topic"], r["timestamp"]) for r in tables["follows"]]
    assert found[0] == ("2", "13", 1238536800)


def test_book_crossing_with_semicolons_latin_1_and_escaped_quotes(tmp_path):
    ratings = (
        '"User-ID";"ISBN";"Book-Rating"\n"276725";"034545104X";"0"\n"276726";"0155061224";"5"\n'
    )
    books = (
        '"ISBN";"Book-Title";"Book-Author"\n'
        '"034545104X";"Flesh \\"and\\" Tones";"M. J. Rosé"\n"0155061224";"Rites; of";"J"\n'
    )
    source = write(
        tmp_path / "s",
        {"BX-Book-Ratings.csv": ratings, "BX-Books.csv": books.encode("latin-1")},
    )
    mapping = """
files: BX-Book-Ratings.csv
map: {user_id: User-ID, item_id: ISBN, action: Book-Rating}
encoding: latin-1
items:
  files: BX-Books.csv
  map: {item_id: ISBN, title: Book-Title, topics: Book-Author}
  escape: '\\'
"""
    (source / "m.yaml").write_text(mapping)
    _, _, tables = accepted(tmp_path / "o", "--mapping", source / "m.yaml")
    assert [row["title"] for row in tables["items"]] == ['Flesh "and" Tones', "Rites; of"]
    assert topics(tables)["034545104X"] == ["M. J. Rosé"]


TOPICS = [
    ("['a', 'b']", (), ["a", "b"]),
    ('["a","b"]', (), ["a", "b"]),
    ("['a' 'b']", (), ["a", "b"]),
    ("[{'id': 16, 'name': 'a'}, {'id': 35, 'name': 'b'}]", (), ["a", "b"]),
    ("[a, b]", (), ["a", "b"]),
    ("[]", (), []),
    ("a|b", (), ["a", "b"]),
    ("a | b", (), ["a", "b"]),
    ("a, b", ("--topics-separator", ","), ["a", "b"]),
    ("a;b", ("--topics-separator", ";"), ["a", "b"]),
    ("a, b", ("--topics-separator", "none"), ["a, b"]),
]


@pytest.mark.parametrize(("text", "options", "found"), TOPICS)
def test_topics_in_many_forms(tmp_path, text, options, found):
    rows = {"u": ["u1", "u1"], "i": ["i1", "i2"], "t": [1718000000] * 2, "a": ["x"] * 2}
    frame = pd.DataFrame({**rows, "g": [text, "c"]})
    frame.to_csv(tmp_path / "e.csv", index=False)
    _, _, tables = accepted(
        tmp_path / "o",
        *(tmp_path / "e.csv", "--map", "user_id=u,item_id=i,timestamp=t,action=a"),
        *("--items-map", "item_id=i,topics=g", *options),
    )
    assert topics(tables) == {"i1": found, "i2": ["c"]}


TIMES = [
    ("1718000000", "s", 1718000000),
    ("1718000000.75", "s", 1718000000),
    ("1718000000123", "ms", 1718000000),
    ("1718000000123456", "us", 1718000000),
    ("19884", "days", 1717977600),
    ("20240610", "iso", 1717977600),
    ("2024-06-10", "iso", 1717977600),
    ("2024-06-10 06:13:20", "iso", 1718000000),
    ("2024-06-10T06:13:20.123Z", "iso", 1718000000),
    ("2024-06-10T08:13:20+02:00", "iso", 1718000000),
    ("2024-06-10 06:13:20 UTC", "iso", 1718000000),
]
PLAIN = ("--map", "user_id=u,item_id=i,timestamp=t", "--action", "a")


@pytest.mark.parametrize(("text", "unit", "found"), TIMES)
def test_times_in_many_units(tmp_path, text, unit, found):
    source = write(tmp_path, {"e.csv": f"u,i,t\nu1,i1,{text}\n"}) / "e.csv"
    _, _, tables = accepted(tmp_path / "o", source, *PLAIN, "--time-unit", unit)
    assert events(tables) == [("u1", "i1", found, "a")]


@pytest.mark.parametrize("dtype", ["datetime64[ns]", "datetime64[ns, Europe/Berlin]"])
def test_parquet_with_types_of_its_own(tmp_path, dtype):
    frame = pd.DataFrame({"u": [7, 8], "i": [12.0, float("nan")], "genre": [["a"], None]})
    times = pd.to_datetime(pd.Series([1718000000, 1718000001]), unit="s", utc=True)
    frame["t"] = times.dt.tz_localize(None) if dtype == "datetime64[ns]" else times.astype(dtype)
    (tmp_path / "s").mkdir()
    frame.to_parquet(tmp_path / "s" / "part-0.snappy.parquet")
    options = ("--items-map", "item_id=i,topics=genre", "--max-bad-share", "0.5")
    _, told, tables = accepted(tmp_path / "o", tmp_path / "s", *PLAIN, *options)
    assert events(tables) == [("7", "12", 1718000000, "a")]
    assert topics(tables) == {"12": ["a"]}
    assert told["tables"]["engagements"]["reasons"] == {"item_id is empty": 1}


def test_parquet_dates_dictionaries_and_large_ids(tmp_path):
    table = pa.table(
        {
            "u": pa.array(["a", "a"]).dictionary_encode(),
            "i": pa.array([2**60, 3], pa.int64()),
            "t": pa.array([19884, 19885], pa.date32()),
            "unused": pa.array([1, 2]),
        }
    )
    pq.write_table(table, tmp_path / "e.PARQUET")
    _, _, tables = accepted(tmp_path / "o", tmp_path / "e.PARQUET", *PLAIN)
    assert events(tables)[0] == ("a", str(2**60), 1717977600, "a")


@pytest.mark.parametrize("pack", [gzip.compress, bz2.compress, lzma.compress, bytes])
def test_compression_is_told_by_content(tmp_path, pack):
    source = write(tmp_path, {"e.data": pack(b"u,i,t\r\nu1,i1,1718000000\r\n")}) / "e.data"
    _, _, tables = accepted(tmp_path / "o", source, *PLAIN)
    assert len(events(tables)) == 1


def test_utf_16_is_read_when_it_is_named(tmp_path):
    source = write(tmp_path, {"e.csv": "u;i;t\nü1;i1;1718000000\n".encode("utf-16")}) / "e.csv"
    refused(tmp_path / "o", source, *PLAIN, told=("UTF-16", "--encoding utf-16"))
    _, _, tables = accepted(tmp_path / "o", source, *PLAIN, "--encoding", "utf-16")
    assert events(tables)[0][0] == "ü1"


def test_users_with_lists_of_topics_follow_each(tmp_path):
    source = write(
        tmp_path,
        {
            "e.csv": "u,i,t,g\nu1,i1,1718000000,a|b|c\nu2,i1,1718000000,a\n",
            "users.csv": "id,likes\nu1,a|b\nu2,\n",
        },
    )
    _, told, tables = accepted(
        tmp_path / "o",
        *(source / "e.csv", *PLAIN, "--items-map", "item_id=i,topics=g"),
        *("--follows", source / "users.csv", "--follows-map", "user_id=id,topics=likes"),
    )
    assert [(r["user_id"], r["topic"]) for r in tables["follows"]] == [("u1", "a"), ("u1", "b")]
    assert told["tables"]["follows"]["added"] == 1 and told["tables"]["follows"]["left_out"] == 1
