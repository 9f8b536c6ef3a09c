"""The verdict on the tables as a whole, from what every worker has counted."""

from __future__ import annotations

import json
from collections.abc import Iterable

import apache_beam as beam

from input_tables.survey import Survey
from input_tables.verdict import Rules, TablesVerdict, judge


class AddSurveys(beam.CombineFn):  # type: ignore[misc]
    """Adds up the surveys of all files."""

    def create_accumulator(self) -> Survey:
        """See base class."""
        return Survey()

    def add_input(self, accumulator: Survey, survey: Survey) -> Survey:
        """See base class."""
        return accumulator.merge(survey)

    def merge_accumulators(self, accumulators: Iterable[Survey]) -> Survey:
        """See base class."""
        total = Survey()
        for accumulator in accumulators:
            total.merge(accumulator)
        return total

    def extract_output(self, accumulator: Survey) -> Survey:
        """See base class."""
        return accumulator


def verdict_json(survey: Survey, rules: Rules) -> str:
    """Returns the verdict as one line of JSON."""
    return json.dumps(judge(survey, rules)._asdict())


def read_verdict(lines: Iterable[str]) -> TablesVerdict:
    """Returns the verdict that `verdict_json` made, from the lines that Beam wrote."""
    return TablesVerdict(**json.loads("".join(lines)))
