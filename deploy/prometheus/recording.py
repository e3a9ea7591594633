"""Figures that are computed once, for alerts and for dashboards.

Names are Prometheus's `level:metric:operations`. All labels of a target stay (`without`, `ignoring`), whatever a
discovery adds to them, so each figure is one server's: streams are long, and a sick server keeps its cameras.

Trap: the long windows are sums over recorded rates. Three days of every raw series, each time, would cost more than
all the rest. Both parts of a share are summed, not the share: so an hour of night counts by its frames.
"""

from __future__ import annotations

from prometheus_client.utils import floatToGoString

from .durations import Timing, days, hours, minutes
from .objectives import Objectives
from .outcomes import ANSWERED, Whose, outcomes
from .rules import JOB, Group, Recording

BURN_WINDOWS = (minutes(5), minutes(30), hours(1), hours(2), hours(6), days(1), days(3))


def recording_groups(objectives: Objectives, timing: Timing) -> tuple[Group, ...]:
    """All of them, in an order in which each finds what it needs."""
    return (_objectives(objectives), _frames(timing), _ages(objectives, timing), _saturation(timing))


def _objectives(objectives: Objectives) -> Group:
    return Group(
        name="reidstream-objectives",
        rules=(
            Recording(record="reidstream:frames_lost:objective_ratio", expr=f"vector({1 - objectives.answered:.6g})"),
            Recording(record="reidstream:frames_old:objective_ratio", expr=f"vector({1 - objectives.fresh:.6g})"),
            Recording(record="reidstream:frame_age_seconds:objective", expr=f"vector({objectives.age_s:g})"),
        ),
    )


def _frames(timing: Timing) -> Group:
    window = timing(minutes(5))
    ours, policy = outcomes(Whose.SERVER), outcomes(Whose.POLICY)
    lost, given_up, owed = "|".join(ours), "|".join(policy), "|".join((ANSWERED, *ours))
    all_frames = f"sum without (outcome) (rate(reidstream_frames_total[{window}]))"
    return Group(
        name="reidstream-frames",
        rules=(
            Recording(
                record="reidstream:frames_owed:rate5m",
                expr=f'sum without (outcome) (rate(reidstream_frames_total{{outcome=~"{owed}"}}[{window}]))',
            ),
            Recording(
                record="reidstream:frames_lost:rate5m",
                expr=f'sum without (outcome) (rate(reidstream_frames_total{{outcome=~"{lost}"}}[{window}]))',
            ),
            *_shares("frames_lost", "frames_owed", timing),
            Recording(
                record="reidstream:frames_given_up:ratio_rate5m",
                expr=f'sum without (outcome) (rate(reidstream_frames_total{{outcome=~"{given_up}"}}[{window}]))'
                f"\n  / {all_frames}",
            ),
        ),
    )


def _ages(objectives: Objectives, timing: Timing) -> Group:
    window = timing(minutes(5))
    edge = floatToGoString(objectives.age_s)  # type: ignore[no-untyped-call]
    count = f"rate(reidstream_frame_age_seconds_count[{window}])"
    return Group(
        name="reidstream-ages",
        rules=(
            Recording(record="reidstream:frames_aged:rate5m", expr=count),
            Recording(
                record="reidstream:frames_old:rate5m",
                expr=f'{count}\n  - ignoring (le) rate(reidstream_frame_age_seconds_bucket{{le="{edge}"}}[{window}])',
            ),
            *_shares("frames_old", "frames_aged", timing),
            *(
                Recording(
                    record=f"reidstream:{name}:p{percentile}_rate5m",
                    expr=f"histogram_quantile({percentile / 100:g}, rate(reidstream_{name}_bucket[{window}]))",
                )
                for name in ("frame_age_seconds", "stage_seconds")
                for percentile in (50, 99)
            ),
        ),
    )


def _shares(part: str, whole: str, timing: Timing) -> list[Recording]:
    """The share of `part` in `whole`, over each window of the burn rates."""
    shortest, *longer = BURN_WINDOWS
    return [
        Recording(
            record=f"reidstream:{part}:ratio_rate{shortest}",
            expr=f"reidstream:{part}:rate{shortest} / reidstream:{whole}:rate{shortest}",
        ),
        *(
            Recording(
                record=f"reidstream:{part}:ratio_rate{window}",
                expr=f"sum_over_time(reidstream:{part}:rate{shortest}[{timing(window)}])"
                f"\n  / sum_over_time(reidstream:{whole}:rate{shortest}[{timing(window)}])",
            )
            for window in longer
        ),
    ]


def _saturation(timing: Timing) -> Group:
    short, window = timing(minutes(2)), timing(minutes(5))
    cores = f"sum without (work) (rate(reidstream_core_busy_seconds_total[{short}])) / reidstream_cores"
    loop = f"rate(reidstream_event_loop_cpu_seconds_total[{short}])"
    engine = f"rate(reidstream_engine_busy_seconds_total[{short}]) / reidstream_running_batches_limit"
    return Group(
        name="reidstream-saturation",
        rules=(
            Recording(
                record="reidstream:part_use:ratio_rate2m",
                expr=f'label_replace({cores}, "part", "cores", "", "")\n'
                f'or label_replace({loop}, "part", "event loop", "", "")\n'
                f'or label_replace({engine}, "part", "engine", "", "")',
            ),
            Recording(
                record="reidstream:busiest_part:ratio_rate2m",
                expr="max without (part, model) (reidstream:part_use:ratio_rate2m)",
            ),
            Recording(
                record="reidstream:batch_fill:ratio_rate5m",
                expr=f"rate(reidstream_batch_size_sum[{window}]) / rate(reidstream_batch_size_count[{window}])"
                "\n  / reidstream_batch_size_limit",
            ),
            Recording(
                record="reidstream:batch_faults:ratio_rate5m",
                expr=f"rate(reidstream_batch_faults_total[{window}]) / rate(reidstream_batch_size_count[{window}])",
            ),
            Recording(
                record="reidstream:private_memory:ratio",
                expr="reidstream_private_memory_bytes / reidstream_private_memory_limit_bytes",
            ),
            Recording(
                record="reidstream:open_descriptors:ratio",
                expr=f'process_open_fds{{job="{JOB}"}} / process_max_fds{{job="{JOB}"}}',
            ),
        ),
    )
