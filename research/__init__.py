"""Research tooling: experiments, tuning and the verdicts on the paper."""
