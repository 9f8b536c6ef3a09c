import pyarrow as pa
import pytest
from hypothesis import given
from hypothesis import strategies as st

from components.user_ids import IdKey, id_key, key_of, required_key
from core.errors import ConfigError
from pipeline.forget.person import Person

KEY = IdKey(b"0123456789abcdef")
IDS = st.text(st.characters(codec="utf-8", exclude_characters="\0"), min_size=1, max_size=40)


@given(IDS, st.lists(IDS, max_size=10))
def test_a_column_is_searched_alike_in_every_form(user, others):
    ids = [*others, user, *others]
    wanted = [one == user for one in ids]
    person = Person(user)
    assert person.rows(pa.chunked_array([pa.array(ids, pa.string())])).to_pylist() == wanted
    lists = pa.array([[one.encode()] for one in ids], pa.large_list(pa.large_binary()))
    assert person.rows(pa.chunked_array([lists])).to_pylist() == wanted


def test_empty_lists_and_nulls_are_nobody():
    lists = pa.array([[], None, [b"u1"]], pa.large_list(pa.large_binary()))
    assert Person("u1").rows(pa.chunked_array([lists])).to_pylist() == [False, False, True]


@given(IDS)
def test_a_hash_is_made_once_and_found_by_its_key_alone(user):
    hashed = KEY.hashed(user)
    assert KEY.hashed(hashed) == hashed and key_of(hashed) == KEY.fingerprint
    column = pa.chunked_array([pa.array([hashed], pa.string())])
    assert Person(user, KEY).rows(column).to_pylist() == [True]
    assert Person(user).rows(column).to_pylist() == [False]
    assert Person(user).other_keys(column) == 1 and Person(user, KEY).other_keys(column) == 0


def test_a_protobuf_is_searched_for_whole_texts():
    assert Person("u1").in_protobuf(b"\x0a\x02u1\x12")
    assert not Person("u1").in_protobuf(b"\x0a\x03u12")
    long = "x" * 300
    assert Person(long).in_protobuf(b"\xac\x02" + long.encode())


def test_a_text_is_searched_for_whole_words():
    assert Person("u1").in_text("u1,i5,like") and Person("u+1").in_text("a,u+1")
    assert not Person("u1").in_text("u12,au1")


def test_a_key_is_told_by_its_fingerprint_and_must_be_long():
    assert "0123456789abcdef" not in repr(KEY)
    assert id_key({}) is None
    with pytest.raises(ConfigError, match="TESSERA_ID_KEY: a key of at least 16 bytes"):
        id_key({"TESSERA_ID_KEY": "short"})
    with pytest.raises(ConfigError, match="TESSERA_ID_KEY is not set"):
        required_key({})
