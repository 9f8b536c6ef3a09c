"""The commands of the guide run on small files in the layouts that they name."""

import shlex
from pathlib import Path

import yaml

from tests.input_tables.public_sets import write
from tests.input_tables.table_import import accepted

GUIDE = (Path(__file__).parents[2] / "docs" / "data.md").read_text()
COMMAND = "tessera data import table "
HEAD = "timestamp,itemid,property,value\n"
FILES = {
    "events.csv": "timestamp,visitorid,event,itemid,transactionid\n"
    "1433221332117,257597,view,355908,\n1433224214164,992329,view,248676,\n"
    "1433221999827,111016,addtocart,318965,\n1433221955914,483717,transaction,253185,4000\n",
    "item_properties_part1.csv": HEAD + "1435460400000,355908,categoryid,1338\n",
    "item_properties_part2.csv": HEAD + "1435460400000,318965,categoryid,1114\n",
    "transactions_train.csv": "t_dat,customer_id,article_id,price,sales_channel_id\n"
    "2018-09-20,000058a1,0663713001,0.0508,2\n",
    "articles.csv": "article_id,prod_name,product_type_name,garment_group_name\n"
    "0663713001,Atlanta,Underwear body,Jersey\n",
    "steam-200k.csv": "151603712,Fallout 4,purchase,1.0,0\n",
    "plays.tsv": "user_000001\t2009-05-04T23:08:57Z\tf1b1cf71\tDeep Dish\t\tFamous\n",
}


def commands():
    for line in GUIDE.replace("\\\n", " ").splitlines():
        if line.startswith(COMMAND):
            yield shlex.split(line.removeprefix(COMMAND))


def test_the_commands_of_the_guide_work(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path, FILES))
    assert len(list(commands())) == 4
    for words in commands():
        place = words.index("--out")
        out = Path(words[place + 1])
        said, _, _ = accepted(out, *words[:place], *words[place + 2 :])
        if "shop" in words[place + 1]:
            for line in (
                GUIDE.partition("```text\nengagements")[2].partition("\n```")[0].splitlines()
            ):
                assert line in said


def test_the_mapping_file_of_the_guide_reads_what_the_options_read(tmp_path, monkeypatch):
    monkeypatch.chdir(write(tmp_path, FILES))
    blocks = [block.partition("```")[0] for block in GUIDE.split("```yaml\n")[1:]]
    mapping = next(block for block in blocks if "visitorid" in block)
    write(tmp_path, {"shop.yaml": mapping})
    assert yaml.safe_load(mapping)["time_unit"] == "ms"
    _, told, _ = accepted(tmp_path / "a", "--mapping", "shop.yaml")
    words = next(commands())
    place = words.index("--out")
    _, other, _ = accepted(tmp_path / "b", *words[:place], *words[place + 2 :])
    assert told == other
