"""One user out of the samples and warm-up requests of published versions."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pyarrow as pa
import pyarrow.compute as pc
import pyarrow.parquet as pq

from components.bundle.lock import push_lock
from components.bundle.manifest import FileEntry, read_manifest, write_manifest
from components.bundle.versions import list_versions, written_in_place
from components.pusher.staging import STAGING_PREFIX, remove_staged, staging_path
from components.serving_validator.layout import REQUESTS_FILE
from core.digest import file_sha256
from core.errors import BundleError, DataError
from core.files import rewritten_directory, staged_file
from pipeline.forget.person import Finding, Person, read_users
from trainer import features

#: As the ServingValidator names it; importing that would import TensorFlow.
_WARMUP = "tf_serving_warmup_requests"
_WAIT_S = 30.0


def model_dirs(serving_dir: Path) -> list[Path]:
    """Returns the models' folders of a serving folder, or the folder itself if it is a model's.

    Raises:
      BundleError: nothing is published there, or its folders cannot be replaced in one step.
    """
    if list_versions(serving_dir):
        found = [serving_dir]
    else:
        folders = sorted(path for path in serving_dir.iterdir() if path.is_dir())
        found = [path for path in folders if list_versions(path)]
    if not found:
        raise BundleError(f"{serving_dir}: no published version here")
    for path in found:
        if written_in_place(path):
            raise BundleError(
                f"{path}: versions cannot be renamed here (pusher.publish: ordered), so none can "
                "be replaced in one step; publish a new version without the user and remove the "
                "old ones"
            )
    return found


def forget_in_bundles(model_dir: Path, person: Person, dry_run: bool) -> list[Finding]:
    """Removes a user from every version of a model; a version changes in one step.

    Its manifest is sealed anew, so `verify` and `tessera versions --verify` hold afterwards.

    Raises:
      BundleError: a version's sample cannot be read.
      PushError: somebody publishes here.
    """
    with push_lock(model_dir, _WAIT_S):
        found = list(_leftovers(model_dir, dry_run))
        for bundle in list_versions(model_dir):
            found += _forget_in_version(bundle.path, person, dry_run)
    return found


def _leftovers(model_dir: Path, dry_run: bool) -> Iterator[Finding]:
    """Removes what killed pushes left: it holds the same samples."""
    for path in sorted(model_dir.glob(f"{STAGING_PREFIX}*")):
        yield Finding("bundle", str(path), "left by a push that was killed, removed whole")
    if not dry_run:
        remove_staged(model_dir)


def _forget_in_version(version_dir: Path, person: Person, dry_run: bool) -> Iterator[Finding]:
    sample, files = version_dir / REQUESTS_FILE, read_manifest(version_dir).files
    rows = 0
    if REQUESTS_FILE in files:
        try:
            users = read_users(sample)
        except DataError as error:
            raise BundleError(str(error)) from error
        if users is not None:
            rows = pc.sum(person.rows(users)).as_py() or 0
            unclear = person.other_keys(users)
            if unclear:
                yield Finding("unclear", str(sample), f"{unclear} ids hashed with another key")
    warm = [name for name in files if name.endswith(_WARMUP)]
    # Earlier warm-up requests name nobody, but hold the histories of the sample.
    if not rows and not any(person.in_protobuf((version_dir / n).read_bytes()) for n in warm):
        return
    anew = "; warm-up requests made anew" if warm else ""
    yield Finding("bundle", str(version_dir), f"{rows} of the sample's requests{anew}")
    if not dry_run:
        _rewrite(version_dir, person, warm)


def _rewrite(version_dir: Path, person: Person, warm: list[str]) -> None:
    manifest = read_manifest(version_dir)
    files = dict(manifest.files)
    with rewritten_directory(version_dir, staging_path(version_dir.parent)) as copy:
        changed = []
        if REQUESTS_FILE in files:
            remove_rows(copy / REQUESTS_FILE, person)
            changed.append(REQUESTS_FILE)
        for name in warm:
            if _new_warmup(copy / name, copy / REQUESTS_FILE):
                changed.append(name)
            else:
                (copy / name).unlink()
                del files[name]
        for name in changed:
            path = copy / name
            files[name] = FileEntry(sha256=file_sha256(path), bytes=path.stat().st_size)
        (copy / "manifest.json").unlink()  # linked to the present one
        write_manifest(copy, manifest.model_copy(update={"files": files}))


def remove_rows(path: Path, person: Person) -> int:
    """Rewrites a Parquet file without a user's rows, in one step; returns how many they were."""
    table = pq.read_table(path, partitioning=None)
    mine = person.rows(table[features.USER_ID])
    with staged_file(path) as staging:
        pq.write_table(table.filter(pc.invert(mine)), staging, compression="zstd")
    return pc.sum(mine).as_py() or 0


def _new_warmup(path: Path, sample: Path) -> bool:
    """Makes warm-up requests of who is left; returns False where nobody is."""
    from components.refresh.catalogue_gen.sample_requests import request_examples
    from components.serving_validator.warmup import write_warmup
    from trainer.retrieval import signature

    if not sample.is_file():
        return False
    left = pa.Table.from_batches([request_examples(sample)])
    if not left.num_rows:
        return False
    content = path.read_bytes()
    filtered = signature.RETRIEVE_FILTERED.encode() in content
    write_warmup(path, left, _records(content), filtered)
    return True


def _records(content: bytes) -> int:
    """Returns the number of records of a TFRecord file: length, checksum, content, checksum."""
    count = place = 0
    while place + 12 <= len(content):
        place += 16 + int.from_bytes(content[place : place + 8], "little")
        count += 1
    return max(1, count)
