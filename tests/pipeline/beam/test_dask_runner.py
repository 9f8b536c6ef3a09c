"""Graphs on a Dask cluster of two processes give what they give on Beam's own runner."""

import ast
import collections
import os
import uuid

import apache_beam as beam
import pytest
from apache_beam.options.pipeline_options import PipelineOptions
from apache_beam.pvalue import AsDict, AsIter, AsSingleton, TaggedOutput
from apache_beam.runners.dask.dask_runner import DaskRunner as BeamsDaskRunner
from apache_beam.transforms.userstate import ReadModifyWriteStateSpec
from apache_beam.transforms.window import FixedWindows
from dask.distributed import Client, LocalCluster

from core.errors import ConfigError
from pipeline.beam.dask_runner import DaskRunner


@pytest.fixture(scope="module")
def cluster():
    with LocalCluster(
        n_workers=2, threads_per_worker=1, processes=True, dashboard_address=None
    ) as found:
        yield found


@pytest.fixture
def results(cluster, tmp_path):
    def run(build, runner="pipeline.beam.dask_runner.DaskRunner"):
        """Runs a graph; returns the written elements of each collection that `build` names."""
        out = tmp_path / uuid.uuid4().hex
        address = cluster.scheduler_address
        with beam.Pipeline(argv=[f"--runner={runner}", f"--dask_client_address={address}"]) as p:
            for name, values in build(p).items():
                _ = (
                    values
                    | f"Repr{name}" >> beam.Map(repr)
                    | name >> beam.io.WriteToText(str(out / name))
                )
        lines = collections.defaultdict(list)
        for path in sorted(out.iterdir()):
            lines[path.name.split("-")[0]] += path.read_text().splitlines()
        return {name: sorted(found) for name, found in lines.items()}

    return run


class Tagged(beam.DoFn):
    def process(self, number):
        yield number
        yield TaggedOutput("half", number / 2)
        yield TaggedOutput("nobody", object())
        if number % 2:
            yield TaggedOutput("odd", str(number))


class Ends(beam.DoFn):
    """Yields when its bundle ends, as Beam's batching does."""

    def start_bundle(self):
        self.seen = []

    def process(self, number):
        self.seen.append(number)

    def finish_bundle(self):
        for number in self.seen:
            yield beam.transforms.window.GlobalWindows.windowed_value(number)


def tags(p):
    out = p | beam.Create(range(20)) | beam.ParDo(Tagged()).with_outputs("half", "odd", main="all")
    both = (out.half, out.all) | beam.Flatten()
    return {"all": out.all, "half": out.half, "odd": out.odd, "both": both}


def side_inputs(p):
    numbers = p | beam.Create(range(10))
    pairs = numbers | "Pairs" >> beam.Map(lambda n: (n, n * n))
    largest = numbers | beam.CombineGlobally(max)
    none = numbers | beam.Filter(lambda n: n > 99) | "NoMax" >> beam.CombineGlobally(sum)
    return {
        "one": numbers | "One" >> beam.Map(lambda n, top: n - top, top=AsSingleton(largest)),
        "empty": numbers | "Empty" >> beam.Map(lambda n, total: n + total, AsSingleton(none)),
        "every": numbers
        | "Every"
        >> beam.Map(
            lambda n, every, squares: (sum(every), squares[n]), AsIter(numbers), AsDict(pairs)
        ),
    }


def ends_of_bundles(p):
    return {"ends": p | beam.Create(range(30)) | beam.ParDo(Ends())}


def keys(p):
    """Python's `hash` of some of these may differ between processes."""
    names = [None, "a", "b", ("x", 1), b"bytes", 3, -1, True, 2.5]
    pairs = p | beam.Create([(names[k % 9], k) for k in range(90)]) | beam.Reshuffle()
    texts = pairs | beam.MapTuple(lambda key, value: (repr(key), value))
    return {
        "groups": pairs | beam.GroupByKey() | beam.MapTuple(lambda key, v: (key, sorted(v))),
        "sums": texts | beam.CombinePerKey(sum),
        "joined": {"left": texts, "right": texts | "Other" >> beam.Filter(lambda kv: kv[1] < 40)}
        | beam.CoGroupByKey()
        | beam.MapTuple(lambda key, v: (key, sorted(v["left"]), sorted(v["right"]))),
    }


def empty(p):
    nothing = p | beam.Create([1]) | beam.Filter(lambda _: False)
    grouped = nothing | beam.Map(lambda n: (n, n)) | beam.GroupByKey()
    return {"nothing": (nothing, grouped) | beam.Flatten()}


@pytest.mark.parametrize("build", [tags, side_inputs, ends_of_bundles, keys, empty])
def test_equals_beams_own_runner(results, build):
    assert results(build) == results(build, "FnApiRunner")


def test_reads_files(results, tmp_path):
    for number in range(3):
        (tmp_path / f"in-{number}.txt").write_text(f"{number}\n" * 50)

    def build(p):
        return {"lines": p | beam.io.ReadFromText(str(tmp_path / "in-*.txt"))}

    assert len(results(build)["lines"]) == 150


def test_a_side_input_is_computed_once_whoever_reads_it(results):
    def build(p):
        one = p | beam.Create([0]) | beam.Map(lambda _: uuid.uuid4().hex)
        numbers = p | "Numbers" >> beam.Create(range(20)) | beam.Reshuffle()
        return {
            name: numbers | f"To{name}" >> beam.Map(lambda _, x: x, AsSingleton(one))
            for name in ("a", "b")
        }

    found = results(build)
    assert len({*found["a"], *found["b"]}) == 1


class Where(beam.DoFn):
    """Yields, for each element, the bundle and the process that it is in."""

    def start_bundle(self):
        self.bundle = uuid.uuid4().hex

    def process(self, _):
        yield f"{self.bundle} {os.getpid()}"


def test_the_work_is_divided_among_the_workers_and_done_by_them(cluster, results):
    """Which of two free workers gets a bundle is up to Dask; how many there are is up to us."""

    def build(p):
        return {"where": p | beam.Create(range(20)) | beam.Reshuffle() | beam.ParDo(Where())}

    found = [ast.literal_eval(line).split() for line in results(build)["where"]]
    assert sorted(collections.Counter(bundle for bundle, _ in found).values()) == [10, 10]
    with Client(cluster) as client:
        workers = {str(pid) for pid in client.run(os.getpid).values()}
    assert {pid for _, pid in found} <= workers and str(os.getpid()) not in workers


def test_the_error_of_a_step_ends_the_run(results):
    def build(p):
        return {"out": p | beam.Create([0]) | "Divide" >> beam.Map(lambda n: 1 // n)}

    with pytest.raises(ZeroDivisionError, match="Divide"):
        results(build)


COUNT = beam.DoFn.StateParam(ReadModifyWriteStateSpec("count", beam.coders.VarIntCoder()))


class Stateful(beam.DoFn):
    def process(self, element, count=COUNT):
        yield element


class Streaming(beam.PTransform):
    def expand(self, pcoll):
        return beam.pvalue.PCollection.from_(pcoll)


@pytest.mark.parametrize(
    ("step", "message"),
    [
        (beam.ParDo(Stateful()), "Step.*state and timers"),
        (beam.WindowInto(FixedWindows(5)) | beam.GroupByKey(), "windows"),
        (Streaming(), "Step.*this kind of step"),
    ],
)
def test_what_it_cannot_do_is_refused_before_anything_runs(cluster, step, message):
    options = PipelineOptions([f"--dask_client_address={cluster.scheduler_address}"])
    pipeline = beam.Pipeline(runner=DaskRunner(), options=options)
    _ = pipeline | beam.Create([(1, 2)]) | "Step" >> step
    with pytest.raises(NotImplementedError, match=message):
        pipeline.run()


def test_a_cluster_that_is_not_there_is_named():
    args = ["--dask_client_address=tcp://127.0.0.1:1", "--dask_connection_timeout=1"]
    pipeline = beam.Pipeline(runner=DaskRunner(), options=PipelineOptions(args))
    _ = pipeline | beam.Create([1])
    with pytest.raises(ConfigError, match=r"no Dask scheduler.*127\.0\.0\.1:1"):
        pipeline.run()


def test_beams_runner_still_gives_each_reader_the_elements_of_all_tags(cluster, tmp_path):
    """When this fails, see whether Beam's own Dask runner will do."""
    options = PipelineOptions([f"--dask_client_address={cluster.scheduler_address}"])
    with beam.Pipeline(runner=BeamsDaskRunner(), options=options) as p:
        out = p | beam.Create([1]) | beam.ParDo(Tagged()).with_outputs("odd", main="all")
        _ = out.odd | beam.Map(lambda x: (tmp_path / f"{type(x).__name__}").write_text(""))
    assert {path.name for path in tmp_path.iterdir()} > {"str"}
