// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet doctor`: what this host and its store can do, found out by trying. Makes a few bytes in
// the store and in the cache directory's file system and removes them; nothing else is changed.

import Documents
import Glibc
import HostIO
import ObjectStore
import Primitives

/// What was found out.
public struct DoctorReport: Equatable, Sendable {
    public let lines: [String]
    public let json: String
    /// What keeps a daemon from serving well here.
    public let problems: [String]
}

public struct Doctor: Sendable {
    private static let tries = 5
    private static let clock = SystemClock()

    private let configuration: Configuration
    private var problems: [String] = []

    public static func examine(_ configuration: Configuration) -> DoctorReport {
        var doctor = Doctor(configuration: configuration)
        let members: [String: JSONValue] = [
            "store": .object(doctor.store()), "disk": .object(doctor.disk()),
            "host": .object(doctor.host()), "devices": .object(doctor.devices()),
        ]
        var all = members
        all["problems"] = .array(doctor.problems.map { .string($0) })
        var lines = InspectJSON.lines(of: .object(members))
        lines += doctor.problems.map { "problem: \($0)" }
        return DoctorReport(
            lines: lines, json: JSONValue.object(all).text, problems: doctor.problems)
    }

    private init(configuration: Configuration) { self.configuration = configuration }

    // MARK: Store

    private mutating func store() -> [String: JSONValue] {
        let url = configuration.storage.url
        var found: [String: JSONValue] = ["url": .string(url)]
        func say(_ access: String, _ detail: String?) {
            found["access"] = .string(access)
            if let detail { found["detail"] = .string(detail) }
        }
        do {
            let store = try OfflineSource.store(configuration, "cannot examine the store")
            if configuration.storage.readonly {
                try examineReading(store, say)
                return found
            }
            var random = SystemRandom()
            switch try StoreProbe.run(store, random: &random) {
            case .readWrite:
                say("read-write", nil)
                try measure(store, &random, into: &found)
            case .readOnly(let detail):
                say("read-only", detail)
                problems.append("the store may only be read: \(detail)")
            case .unfit(let detail):
                say("unfit", detail)
                problems.append("no writer may use the store: \(detail)")
            }
        } catch let error as UserError {
            say("absent", error.why)
            problems.append(error.why)
        } catch ObjectStoreError.misconfigured(_, let detail, let remedy) {
            say("misconfigured", detail)
            problems.append("\(detail): \(remedy)")
        } catch {
            say("away", "\(error)")
            problems.append("the store does not answer: \(error)")
        }
        return found
    }

    /// Nothing is written: a repository that can be read and listed is all that is wanted.
    private mutating func examineReading(
        _ store: OfflineStore, _ say: (String, String?) -> Void
    ) throws(ObjectStoreError) {
        let key = RefKey.repository.text
        let bytes = try store.head(key)
        _ = try store.list(prefix: "refs/", after: nil, limit: 1)
        say("read-only", "storage.readonly is set")
        if bytes == nil { problems.append("there is no repository at \(store.url): no \(key)") }
    }

    private func measure(
        _ store: OfflineStore, _ random: inout SystemRandom, into found: inout [String: JSONValue]
    ) throws(ObjectStoreError) {
        let key = StoreProbe.prefix + Token.random(from: &random).description
        let body = [UInt8](repeating: 0x6D, count: Limits.grainBytes)
        let put = try microseconds { () throws(ObjectStoreError) in
            _ = try store.putIfAbsent(key, body)
        }
        let get = try microseconds { () throws(ObjectStoreError) in
            _ = try store.get(key, limit: body.count)
        }
        let list = try microseconds { () throws(ObjectStoreError) in
            _ = try store.list(prefix: key, after: nil, limit: 1)
        }
        try store.delete([key])
        found["put_us"] = .number(put)
        found["get_us"] = .number(get)
        found["list_us"] = .number(list)
    }

    private func microseconds<Failure: Error>(
        _ body: () throws(Failure) -> Void
    ) throws(Failure) -> UInt64 {
        let start = Self.clock.now
        try body()
        return Self.clock.now.nanoseconds(since: start) / 1000
    }

    // MARK: Disk

    /// The cache directory, or the closest folder above it that is there.
    private var folder: HostDirectory? {
        var path = configuration.cache.dir
        while true {
            if let found = try? HostDirectory.open(path: path, create: false) { return found }
            guard let slash = path.lastIndex(of: "/") else {
                return path == "." ? nil : try? HostDirectory.open(path: ".", create: false)
            }
            path = slash == path.startIndex ? "/" : String(path[..<slash])
        }
    }

    private mutating func disk() -> [String: JSONValue] {
        var found: [String: JSONValue] = ["cache_dir": .string(configuration.cache.dir)]
        guard let folder else {
            problems.append("no folder of \(configuration.cache.dir) can be opened")
            return found
        }
        found["examined"] = .string(folder.path)
        do throws(HostIOError) {
            let space = try folder.space()
            found["free_bytes"] = .number(space.free)
            found["total_bytes"] = .number(space.total)
            found["fsync_us"] = .number(try syncMicroseconds(folder))
            if space.free < configuration.cache.diskBytes {
                problems.append(
                    "\(folder.path) has \(space.free) bytes free, cache.disk_size_gb allows "
                        + "journals of \(configuration.cache.diskBytes)")
            }
        } catch { problems.append("\(error)") }
        return found
    }

    /// The median time of a small write with its sync.
    private func syncMicroseconds(_ folder: HostDirectory) throws(HostIOError) -> UInt64 {
        var random = SystemRandom()
        let name = "doctor-" + Token.random(from: &random).description
        let file = try folder.create(name)
        defer { try? folder.remove(name) }
        let page = [UInt8](repeating: 0x6D, count: Limits.grainBytes)
        var times: [UInt64] = []
        for number in 0..<Self.tries {
            try file.write(at: UInt64(number * page.count), page)
            times.append(try microseconds { () throws(HostIOError) in try file.sync() })
        }
        return times.sorted()[Self.tries / 2]
    }

    // MARK: Host

    private mutating func host() -> [String: JSONValue] {
        var found: [String: JSONValue] = [
            "page_bytes": .number(UInt64(max(0, sysconf(Int32(_SC_PAGESIZE)))))
        ]
        var random = SystemRandom()
        do throws(HostIOError) {
            // Where the machine has no id, one is made for this report only.
            let facts = try HostFacts.read(
                fallback: VolatileDisk(seed: random.next()).root, random: &random)
            found["boot_id"] = .string(facts.bootID.description)
            found["machine_id"] = .string(facts.machineID)
            found["name"] = .string(facts.hostName)
            found["processors"] = .number(UInt64(facts.processorCount))
            found["memory_bytes"] = .number(facts.memoryBytes)
        } catch { problems.append("\(error)") }
        return found
    }

    /// What kernel transports need; none of it is needed for NBD.
    private func devices() -> [String: JSONValue] {
        let paths = [
            "ublk": "/dev/ublk-control", "fuse": "/dev/fuse", "nbd": "/dev/nbd0",
            "vhost": "/dev/vhost-net",
        ]
        return paths.mapValues { .bool(access($0, F_OK) == 0) }
    }
}
