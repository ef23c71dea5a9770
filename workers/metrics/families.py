"""Every metric that the gateway knows, with its type and its sentence of help.

Names follow Prometheus' rules: one prefix, base units, unit as plural suffix, counters end in
`_total`, no label's name in the metric's. Labels are bounded: devices, groups, workers, small sets
of words; a tag is never a label. What a worker reports under a name that is not here is shown all
the same, its type taken from its suffix, so that a new driver needs no change here.

docs/metrics.md lists them; a test keeps page and table in step.
"""

from typing import NamedTuple


class Family(NamedTuple):
    """Type (`counter`, `gauge`, `histogram`) and help of a metric."""

    kind: str
    help: str


FAMILIES: dict[str, Family] = {
    # control's own
    "cpppod_build_info": Family("gauge", "Versions that this gateway runs; always 1"),
    "cpppod_config_generation": Family("gauge", "Number of the configuration in force"),
    "cpppod_config_last_reload_success_timestamp_seconds": Family(
        "gauge", "When a configuration was last put in force"
    ),
    "cpppod_config_reloads_total": Family("counter", "Reloads asked for, by what came of them"),
    "cpppod_control_requests_total": Family(
        "counter", "What happened on the control socket, by event"
    ),
    "cpppod_control_unknown_beats_total": Family(
        "counter", "Beats from nobody whom the configuration knows"
    ),
    "cpppod_worker_up": Family("gauge", "Whether the worker has beaten and runs"),
    "cpppod_worker_beat_age_seconds": Family("gauge", "Time since the worker's last beat"),
    "cpppod_worker_blocking_seconds": Family(
        "gauge", "Age of the call that the worker's I/O thread is in"
    ),
    "cpppod_worker_restarts_total": Family(
        "counter", "Ends of the worker's process, by what ended it"
    ),
    "cpppod_worker_restart_storm": Family("gauge", "Whether the worker restarts again and again"),
    "cpppod_state_damaged_files": Family(
        "gauge", "Files that were damaged, were put aside, and have not been deleted yet"
    ),
    "cpppod_state_unkept": Family(
        "gauge", "Files of the state directory that cannot be written now"
    ),
    "cpppod_metrics_series_dropped": Family(
        "gauge", "Series left out because a worker reported too many"
    ),
    # devices
    "cpppod_device_up": Family("gauge", "Whether the device answers"),
    "cpppod_device_state": Family("gauge", "1 for the state that the device is in, 0 for others"),
    "cpppod_device_last_success_timestamp_seconds": Family(
        "gauge", "When the device last answered a request"
    ),
    "cpppod_device_consecutive_failures": Family("gauge", "Failures since the last success"),
    "cpppod_connects_total": Family("counter", "Connections tried to the device, by result"),
    "cpppod_requests_total": Family("counter", "Requests on the wire, by operation and result"),
    "cpppod_protocol_exceptions_total": Family(
        "counter", "Requests that the device refused, by its own status"
    ),
    "cpppod_request_duration_seconds": Family(
        "histogram", "From sending a request to the end of its reply"
    ),
    "cpppod_writes_total": Family("counter", "Writes to the device, by result"),
    "cpppod_write_duration_seconds": Family(
        "histogram", "From taking a write to the device's answer and read-back"
    ),
    # polling
    "cpppod_poll_cycle_duration_seconds": Family(
        "histogram", "Duration of one poll of a whole group"
    ),
    "cpppod_poll_cycles_total": Family("counter", "Polls of the group, by result"),
    "cpppod_poll_lateness_seconds": Family("histogram", "Start of a poll after its slot"),
    "cpppod_computed_evaluations_total": Family("counter", "Computed tags evaluated"),
    "cpppod_poll_overruns_total": Family("counter", "Slots that were missed"),
    "cpppod_coalesce_registers_wasted_ratio": Family(
        "gauge", "Share of what is read that belongs to no tag"
    ),
    "cpppod_blocks_split_total": Family("counter", "Coalesced reads split after a refusal"),
    "cpppod_tags_quarantined": Family("gauge", "Tags read alone because they spoil a block"),
    "cpppod_tags": Family("gauge", "Tags by quality"),
    "cpppod_tag_age_seconds_max": Family("gauge", "Age of the oldest value of the group"),
    "cpppod_bus_utilization_ratio": Family("gauge", "Share of time that the line is in use"),
    "cpppod_bus_wait_seconds": Family("histogram", "Time from asking for the line to having it"),
    "cpppod_tag_value": Family(
        "gauge", "Value of a tag while it is good, where its group says prometheus"
    ),
    "cpppod_tag_quality": Family("gauge", "Quality of such a tag: 0 good, 16 and more bad"),
    "cpppod_tag_age_seconds": Family("gauge", "Time since the device was read"),
    # queues and the bus
    "cpppod_queue_depth": Family("gauge", "Items waiting in the queue"),
    "cpppod_queue_dropped_total": Family("counter", "Items that the queue could not take"),
    "cpppod_bus_sent_total": Family("counter", "Messages sent on the internal bus"),
    "cpppod_bus_received_total": Family("counter", "Messages received on the internal bus"),
    "cpppod_bus_unsent_total": Family("counter", "Messages that the bus would not take"),
    "cpppod_bus_malformed_total": Family("counter", "Messages received that are none of ours"),
    "cpppod_worker_errors_total": Family("counter", "Errors logged with a traceback"),
    "cpppod_log_left_out_total": Family(
        "counter", "Lines of the log left out because strangers cause too many, by line"
    ),
    "cpppod_audit_newest_record": Family("gauge", "Number of the worker's newest audit record"),
    "cpppod_audit_newest_hash": Family("gauge", "First 48 bits of that record's seal"),
    "cpppod_audit_lost_total": Family("counter", "Attempted writes of which no record was kept"),
    "cpppod_feed_gap_messages_total": Family("counter", "Messages of the feed that were missed"),
    # history
    "cpppod_sink_up": Family("gauge", "Whether the store takes samples"),
    "cpppod_store_bytes": Family("gauge", "Size of the store"),
    "cpppod_store_oldest_timestamp_seconds": Family("gauge", "Time of the oldest sample stored"),
    "cpppod_store_dropped_total": Family("counter", "Samples that the store lost, declared"),
    "cpppod_historian_behind_bytes": Family("gauge", "Journal that is not stored yet"),
    "cpppod_historian_journal_errors_total": Family("counter", "Journals that could not be read"),
    "cpppod_blocks_unjournalled_total": Family(
        "counter", "Blocks that were published before their journal had them"
    ),
    # outlets
    "cpppod_outlet_up": Family("gauge", "Whether the outlet's other side is there"),
    "cpppod_outlet_behind_bytes": Family("gauge", "Journal that is not delivered yet"),
    "cpppod_outlet_sent_total": Family("counter", "Messages that were acknowledged"),
    "cpppod_outlet_refused_total": Family("counter", "Readings and commands that were refused"),
    "cpppod_outlet_lost_total": Family("counter", "Samples that never came to the outlet"),
    "cpppod_fleet_broker_lost_total": Family(
        "counter", "Times that the stream had lost what it had acknowledged"
    ),
    "cpppod_fleet_live_dropped_total": Family("counter", "Live blocks that were not sent"),
    "cpppod_collector_stored_total": Family("counter", "Blocks stored"),
    "cpppod_collector_repeated_total": Family("counter", "Blocks that were stored already"),
    "cpppod_collector_gaps_total": Family("counter", "Gaps that gateways declared"),
    "cpppod_collector_set_aside_total": Family("counter", "Messages that could not be read"),
    "cpppod_collector_behind_messages": Family("gauge", "Messages of streams not stored yet"),
    # journals
    "cpppod_journal_blocks_total": Family("counter", "Blocks written down"),
    "cpppod_journal_samples_total": Family("counter", "Samples in blocks written down"),
    "cpppod_journal_bytes_total": Family("counter", "Bytes written down"),
    "cpppod_journal_late_total": Family("counter", "Writes longer than their caller would wait"),
    "cpppod_journal_refused_blocks_total": Family("counter", "Blocks not written down"),
    "cpppod_journal_refused_samples_total": Family("counter", "Samples in blocks not written down"),
    "cpppod_journal_dropped_segments_total": Family("counter", "Segments dropped for want of room"),
    "cpppod_journal_dropped_samples_total": Family("counter", "Samples in segments dropped"),
    "cpppod_journal_errors_total": Family("counter", "Writes of the journal that failed"),
    # the historian
    "cpppod_historian_commits_total": Family("counter", "Batches that the store took"),
    "cpppod_historian_readings_total": Family("counter", "Readings that are new in the store"),
    "cpppod_historian_samples_total": Family("counter", "Samples in those readings"),
    "cpppod_historian_duplicates_total": Family("counter", "Readings that the store had already"),
    "cpppod_historian_gaps_total": Family("counter", "Gaps declared"),
    "cpppod_historian_gap_samples_total": Family("counter", "Samples that gaps declare missing"),
    "cpppod_historian_quarantined_total": Family("counter", "Readings set aside unreadable"),
    "cpppod_historian_store_errors_total": Family("counter", "Commits that failed"),
    # the web page
    "cpppod_web_streams": Family("gauge", "Streams of live values that are open"),
    "cpppod_web_lost_events_total": Family("counter", "Live events that a slow browser missed"),
    "cpppod_web_refused_total": Family("counter", "Requests refused, by status"),
    # the feed
    "cpppod_feed_blocks_total": Family("counter", "Blocks passed on"),
    "cpppod_feed_values_total": Family("counter", "Values in blocks passed on"),
    "cpppod_feed_topics": Family("gauge", "Topics whose last value is known"),
    "cpppod_feed_subscribers": Family("gauge", "Subscribers on TCP"),
    "cpppod_feed_publisher_up": Family("gauge", "Whether the publisher's heartbeats come"),
    "cpppod_feed_lost_total": Family("counter", "Messages of the publisher that never came"),
    "cpppod_feed_dropped_total": Family("counter", "Messages not passed on, by reason"),
    "cpppod_feed_replay_bytes": Family("gauge", "Messages held for replay"),
    "cpppod_feed_replayed_total": Family("counter", "Messages sent again on request"),
    "cpppod_feed_snapshots_total": Family("counter", "Snapshots asked for"),
    "cpppod_feed_turned_away_total": Family("counter", "Peers on TCP refused, by reason"),
    # EtherNet/IP
    "cpppod_enip_accepted_total": Family("counter", "EtherNet/IP connections accepted"),
    "cpppod_enip_connections": Family("gauge", "EtherNet/IP connections open"),
    "cpppod_enip_class3_connections": Family("gauge", "CIP class 3 connections open"),
    "cpppod_enip_requests_total": Family("counter", "EtherNet/IP requests answered"),
    "cpppod_enip_rejected_total": Family("counter", "Connections refused or cut, by reason"),
    "cpppod_enip_refused_total": Family("counter", "Requests answered with an error, by status"),
    "cpppod_route_requests_total": Family("counter", "Requests that left by the route"),
    "cpppod_route_failures_total": Family("counter", "Routed requests without a reply"),
    "cpppod_route_outstanding": Family("gauge", "Routed requests that wait for their reply"),
    "cpppod_route_seconds_total": Family("counter", "Time that routed requests took together"),
    "cpppod_router_writes_total": Family("counter", "Writes passed on to the devices' owners"),
    "cpppod_router_outstanding": Family("gauge", "Requests that wait for an owner's reply"),
    "cpppod_router_late_total": Family("counter", "Replies that came after their deadline"),
}


def family_of(name: str) -> Family:
    """The family called `name`, known or taken from its suffix."""
    known = FAMILIES.get(name)
    if known is not None:
        return known
    words = name.removeprefix("cpppod_").removesuffix("_total").replace("_", " ")
    return Family("counter" if name.endswith("_total") else "gauge", words.capitalize())
