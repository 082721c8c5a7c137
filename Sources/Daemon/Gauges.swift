// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The daemon's metrics, gathered when somebody asks: the host's, then each running volume's.

import AdminAPI
import CleanCache
import ControlPlane
import HostIO
import Journal
import ObjectStore
import Primitives

struct Gauges: Sendable {
    let host: ShardHost
    let collection: CollectionSchedule?

    /// Blocks for a round trip to each shard's volumes.
    func families() -> [MetricFamily] {
        hostFamilies() + collectionFamilies() + volumeFamilies()
    }

    private func hostFamilies() -> [MetricFamily] {
        let parts = host.parts
        let usage = parts.pool.usage
        let cache = parts.cache.statistics
        let counting = parts.store.base.base
        let store = counting.base.sentCounts ?? counting.counts
        return [
            single("martlet_up", .gauge, "The daemon runs.", 1),
            single(
                "martlet_journal_used_bytes", .gauge, "Disk used by journals.", usage.usedBytes),
            single(
                "martlet_journal_budget_bytes", .gauge, "Disk budget of journals.",
                usage.budgetBytes),
            single(
                "martlet_journal_slowdown_percent", .gauge,
                "How hard writers are slowed because the budget is short.",
                StatusText.percent(parts.pool.gauge.slowdown)),
            single(
                "martlet_journal_free_segments", .gauge, "Segments in stock.", usage.freeSegments),
            single("martlet_cache_bytes", .gauge, "Memory used by clean blocks.", cache.bytes),
            single(
                "martlet_cache_capacity_bytes", .gauge, "Memory for clean blocks.",
                cache.capacityBytes),
            single("martlet_cache_hits_total", .counter, "Clean cache hits.", cache.hits),
            single("martlet_cache_misses_total", .counter, "Clean cache misses.", cache.misses),
            single(
                "martlet_cache_evictions_total", .counter, "Clean cache evictions.",
                cache.evictions),
            storeFamily(store),
            dollars(
                "martlet_store_usd_per_month",
                "What the host's requests cost a month by the price table, as since the start.",
                parts.prices.dollarsPerMonth(
                    store, in: parts.clock.now.nanoseconds(since: parts.startedAt))),
            single(
                "martlet_store_failures_total", .counter, "Failed store requests.",
                store.failures),
            single(
                "martlet_store_away", .gauge, "The store does not answer.",
                parts.absence.seconds(now: parts.clock.now) == nil ? 0 : 1),
            single(
                "martlet_store_away_secs", .gauge, "How long the store has not answered.",
                parts.absence.seconds(now: parts.clock.now) ?? 0),
            single(
                "martlet_store_retries_total", .counter, "Repeated store requests.",
                parts.store.base.retries),
            single(
                "martlet_store_sent_bytes_total", .counter, "Bytes sent to the store.",
                store.bytesSent),
            single(
                "martlet_store_received_bytes_total", .counter, "Bytes received from the store.",
                store.bytesReceived),
        ]
    }

    /// None where no collector is scheduled.
    private func collectionFamilies() -> [MetricFamily] {
        guard let tally = collection?.tally else { return [] }
        return [
            single(
                "martlet_gc_runs_total", .counter, "Collections by this daemon.", tally.runs),
            single(
                "martlet_gc_failures_total", .counter, "Collections that had to stop.",
                tally.failures),
            single(
                "martlet_gc_deleted_objects_total", .counter, "Objects that were deleted.",
                tally.deletedObjects),
            single(
                "martlet_gc_deleted_bytes_total", .counter, "Bytes of the objects deleted.",
                tally.deletedBytes),
            single(
                "martlet_gc_last_success_seconds", .gauge,
                "When a collection last ended well, in seconds since 1970; 0: never yet.",
                tally.lastSuccessSeconds ?? 0),
        ]
    }

    private func storeFamily(_ counts: StoreCounts) -> MetricFamily {
        var family = MetricFamily("martlet_store_requests_total", .counter, "Store requests.")
        family.add(counts.puts, ("operation", "put"))
        family.add(counts.gets, ("operation", "get"))
        family.add(counts.heads, ("operation", "head"))
        family.add(counts.lists, ("operation", "list"))
        family.add(counts.deletes, ("operation", "delete"))
        return family
    }

    private func single(
        _ name: String, _ kind: MetricFamily.Kind, _ help: String, _ value: some BinaryInteger
    ) -> MetricFamily {
        var family = MetricFamily(name, kind, help)
        family.add(value)
        return family
    }

    private func dollars(_ name: String, _ help: String, _ value: Double) -> MetricFamily {
        var family = MetricFamily(name, .gauge, help)
        family.add(dollars: value)
        return family
    }

    /// Names that are no counters.
    private static let gauges: Set<String> = [
        "connections", "writers", "journal_bytes", "journal_segments", "dirty_blocks",
        "unpublished_bytes", "unpublished_age_secs", "parked_requests", "sequence", "epoch",
        "stored_bytes", "stalled", "store_away_secs", "index_bytes", "unreturned_segments",
        "slowdown_percent",
        "held_answers",
    ]

    private func volumeFamilies() -> [MetricFamily] {
        var families: [String: MetricFamily] = [:]
        var requests = MetricFamily(
            "martlet_volume_requests_usd_per_month", .gauge,
            "What a volume's requests cost a month by the price table, as since it was opened.")
        var stored = MetricFamily(
            "martlet_volume_stored_usd_per_month", .gauge,
            "What a volume's packs cost a month by the price table.")
        for (served, location) in host.running {
            guard let report = host.report(served) else { continue }
            let status = StatusText.status(of: report, served, host.parts.prices)
            requests.add(dollars: status.requestDollarsPerMonth, ("export", location.name))
            if let dollars = status.storedDollarsPerMonth {
                stored.add(dollars: dollars, ("export", location.name))
            }
            for (name, value) in StatusText.counters(of: report) {
                let isGauge = Self.gauges.contains(name)
                let full = "martlet_volume_\(name)" + (isGauge ? "" : "_total")
                families[
                    full,
                    default: MetricFamily(
                        full, isGauge ? .gauge : .counter,
                        "Of a volume: \(name.split(separator: "_").joined(separator: " ")).")
                ].add(value, ("export", location.name))
            }
        }
        return Array(families.values) + [requests, stored].filter { !$0.samples.isEmpty }
    }
}
