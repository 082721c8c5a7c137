// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The threads that do what shards may not: local syncs, fetches, commits, and the control plane's
// work. One pool per kind, so that a slow store never holds up a flush.

import Committer
import HostIO
import ObjectStore
import Primitives
import Shard
import VolumeEngine

/// The store of the host, counted.
typealias HostStore = CountingStore<LocatedStore>

/// The store as the daemon uses it: guarded, retried, counted.
typealias DaemonStore = WriteGuard<RetryingStore<HostStore, SystemClock, SystemRandom>>

/// The store as one volume uses it: watched, and counted for that volume too, each attempt a
/// request.
typealias VolumeStore = WatchedStore<
    WriteGuard<RetryingStore<CountingStore<HostStore>, SystemClock, SystemRandom>>
>

/// All worker pools of a daemon.
final class Hands: Sendable {
    /// Threads that carry out requests of the API and attaches of clients.
    private static let controlThreads = 16
    /// Threads for jobs that a control thread waits for: another pool, or all could wait for all.
    private static let jobThreads = 8
    /// Threads that make diffs for clients of the API, each 70 MiB; as many requests again wait.
    private static let diffThreads = 4

    /// Packing is heavy and nobody waits for it: guests come first. Not more, or the journals would
    /// grow for as long as the guests keep the processors busy.
    private static let commitNiceness: Int32 = 5

    let local: WorkerPool
    let fetch: WorkerPool
    let commit: WorkerPool
    /// Helps commits to hash and compress, where processors have nothing else to do.
    let pack: WorkerPool
    /// Sends the packs of commits that go on packing. What does not fit in its queue is sent by the
    /// commit itself.
    let upload: WorkerPool
    /// The same threads, for commits.
    let packUploads: PackUploads
    /// Looks what packs waste: thousands of volumes may, and no commit is to wait for them.
    let gather: WorkerPool
    let control: WorkerPool
    let jobs: WorkerPool
    let diffs: WorkerPool

    init(processors: Int, downloads: Int, uploads: Int) {
        local = WorkerPool(threads: max(4, 2 * processors), name: "local")
        fetch = WorkerPool(threads: downloads, name: "fetch")
        commit = WorkerPool(
            threads: uploads, name: "commit", niceness: Self.commitNiceness)
        // As many as the processors, one of which runs the commit that is helped.
        pack = WorkerPool(
            threads: processors, name: "pack", capacity: processors,
            niceness: Self.commitNiceness)
        upload = WorkerPool(
            threads: uploads, name: "upload", capacity: uploads, niceness: Self.commitNiceness)
        packUploads = PackUploads { [upload] in upload.trySubmit($0) }
        gather = WorkerPool(
            threads: CompactionPlaces.count, name: "gather", niceness: Self.commitNiceness)
        control = WorkerPool(threads: Self.controlThreads, name: "control")
        jobs = WorkerPool(threads: Self.jobThreads, name: "job")
        diffs = WorkerPool(
            threads: Self.diffThreads, name: "diff", capacity: Self.diffThreads,
            niceness: Self.commitNiceness)
    }

    /// Who carries out an effect.
    func pool(for effect: VolumeEffect<HostDirectory>) -> WorkerPool {
        switch effect {
        case .fetch: fetch
        case .commit: commit
        case .gather: gather
        default: local
        }
    }

    /// Runs jobs side by side and returns when all have ended. Not for a job itself.
    func runAll(_ work: [@Sendable () -> Void]) {
        var running: [Answer<Void>] = []
        for job in work {
            let ended = Answer<Void>()
            let isQueued = jobs.submit {
                job()
                ended.give(())
            }
            if isQueued { running.append(ended) } else { job() }
        }
        for ended in running { ended.wait() }
    }

    /// Ends all threads after what is queued. Shards are stopped before.
    func stop() {
        for pool in [control, jobs, diffs, gather, commit, pack, upload, fetch, local] {
            pool.stop()
        }
    }
}
