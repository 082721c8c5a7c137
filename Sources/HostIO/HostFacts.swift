// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// What the process may know about its host: boot, machine, name, size, environment. Read here and
// passed on as values, so that nothing else asks the world.

import CLinux
import Glibc
public import Primitives

/// Facts of the host, read once at start.
public struct HostFacts: Sendable {
    /// Differs after every boot: bytes written before another boot may have lost their sync.
    public let bootID: BootID
    /// 32 lower-case hexadecimal digits that tell this machine from others.
    public let machineID: String
    public let hostName: String
    public let processID: Int32
    /// Processors this process may run on.
    public let processorCount: Int
    public let memoryBytes: UInt64

    /// Where the machine has no id of its own, one is made in `fallback` under `machine-id` and
    /// kept.
    public static func read(
        fallback: some StorageDirectory, random: inout some RandomSource
    ) throws(HostIOError) -> HostFacts {
        let boot = try readKernelFile("/proc/sys/kernel", "random", "boot_id")
        guard let bootID = BootID(hexadecimal: boot.filter { $0 != "-" }) else {
            throw HostIOError(.read, path: "/proc/sys/kernel/random/boot_id", code: EINVAL)
        }
        return HostFacts(
            bootID: bootID, machineID: try machineID(fallback: fallback, random: &random),
            hostName: readHostName(), processID: getpid(), processorCount: processorCount(),
            memoryBytes: UInt64(max(0, sysconf(Int32(_SC_PHYS_PAGES))))
                * UInt64(max(0, sysconf(Int32(_SC_PAGESIZE)))))
    }

    /// Raises the number of descriptors that this process may have open to the most it may ask
    /// for: the usual 1,024 are for programs that wait by `select`. The limit that holds now.
    @discardableResult
    public static func raiseDescriptorLimit() -> UInt64 { clinux_raise_descriptor_limit() }

    /// Has the allocator keep up to 64 MiB of freed memory for each of its heaps.
    public static func keepFreedMemory() { clinux_keep_freed_memory() }

    /// A variable of the environment.
    public static func environment(_ name: String) -> String? {
        guard let value = getenv(name) else { return nil }
        return String(cString: value)
    }

    /// All variables whose name begins with `prefix`.
    public static func environment(prefix: String) -> [String: String] {
        var found: [String: String] = [:]
        var entry = environ
        while let text = entry.pointee {
            let pair = String(cString: text).split(
                separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            if pair.count == 2 && pair[0].hasPrefix(prefix) {
                found[String(pair[0])] = String(pair[1])
            }
            entry += 1
        }
        return found
    }

    private static func readKernelFile(
        _ directory: String, _ child: String, _ name: String
    ) throws(HostIOError) -> String {
        let folder = try HostDirectory.open(path: directory, create: false)
            .directory(child, create: false)
        // Files of /proc have no size, so they are read to a bound.
        return trimmed(try folder.open(name, writable: false).read(at: 0, count: 128))
    }

    private static func machineID(
        fallback: some StorageDirectory, random: inout some RandomSource
    ) throws(HostIOError) -> String {
        if let folder = try? HostDirectory.open(path: "/etc", create: false),
            let bytes = try? folder.readAll("machine-id", limit: 128),
            let id = Token(hexadecimal: trimmed(bytes)), !id.isZero
        {
            return id.description
        }
        if let bytes = try fallback.readAll("machine-id", limit: 128),
            let id = Token(hexadecimal: trimmed(bytes))
        {
            return id.description
        }
        let made = Token.random(from: &random).description
        try fallback.replaceDurably("machine-id", with: Array(made.utf8))
        return made
    }

    private static func trimmed(_ bytes: [UInt8]) -> String {
        let text = String(decoding: bytes, as: UTF8.self)
        return String(text.prefix { $0 != "\n" })
    }

    /// The name of this host, for people.
    public static func readHostName() -> String {
        var bytes = [CChar](repeating: 0, count: 257)
        guard gethostname(&bytes, 256) == 0 else { return "localhost" }
        return String(
            decoding: bytes.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func processorCount() -> Int {
        max(1, sysconf(Int32(_SC_NPROCESSORS_ONLN)))
    }
}
