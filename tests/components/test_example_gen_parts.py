"""Files are divided into parts that hold every row once."""

from hypothesis import given
from hypothesis import strategies as st

from components.example_gen.parts import parts_of
from input_tables.layout import TableFile, TableSet
from input_tables.remote_tables import RowGroup

GROUPS = st.lists(st.builds(RowGroup, st.integers(0, 50), st.integers(1, 100)), max_size=20)


def tables(*files):
    return TableSet("single", "s3://b", tuple(files), None, None)


@given(GROUPS, st.integers(1, 400))
def test_every_row_group_is_in_one_part(groups, part_bytes):
    file = TableFile("items", "s3://b/items.parquet", None, 9)
    other = TableFile("follows", "s3://b/follows.csv", None, 9)
    found = parts_of(tables(file, other), {file.path: tuple(groups)}, part_bytes)
    assert found[-1].file == other and found[-1].rows is None
    mine = [part.rows for part in found[:-1]]
    if not groups:
        assert mine == [None]
        return
    assert [number for rows in mine for number in rows.groups] == list(range(len(groups)))
    for rows in mine:
        assert rows.before == sum(group.rows for group in groups[: rows.groups[0]])
        assert sum(groups[n].bytes for n in rows.groups[:-1]) < part_bytes


def test_files_of_a_folder_are_parts_of_their_own():
    file = TableFile("items", "/data/items.parquet", None, 9)
    assert [tuple(part) for part in parts_of(tables(file))] == [(file, None)]
