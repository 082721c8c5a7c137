// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// A report as lines for people and as JSON. Ranges are `first-last` bytes for people, offset and
// length for programs.

public import Documents
import Primitives

extension VerifyReport {
    /// `5%` of the data, as `--sample` takes it.
    public var sampleText: String {
        var text = String(sample / 10_000)
        var rest = sample % 10_000
        if rest > 0 {
            text += "."
            var digit: UInt64 = 1000
            while rest > 0 {
                text += String(rest / digit)
                rest %= digit
                digit /= 10
            }
        }
        return text + "%"
    }

    public var lines: [String] {
        var lines = faults.flatMap { Self.lines(of: $0, prefix: "") }
        lines += notes.flatMap { Self.lines(of: $0, prefix: "note: ") }
        let read =
            sample == VerifyOptions.wholeSample
            ? "\(counts.frames) frames"
            : "\(counts.frames) of \(counts.frames + counts.framesSkipped) frames (\(sampleText))"
        lines.append(
            "\(url): \(counts.volumes) volumes, \(counts.commits) commits, \(counts.refs) refs, "
                + "\(counts.packs) packs, \(counts.pages) table pages, \(counts.nodes) map nodes, "
                + "\(read), \(counts.bytes) bytes read")
        if !isComplete { lines.append("there is more than was kept: the lists are not complete") }
        lines.append(
            isWhole ? "whole" : "not whole: \(faults.count) fault\(faults.count == 1 ? "" : "s")")
        return lines
    }

    private static func lines(of fault: VerifyFault, prefix: String) -> [String] {
        var place = fault.part
        if let extent = fault.extent {
            place += " at \(extent.lowerBound), length \(extent.count)"
        }
        return ["\(prefix)\(fault.kind.rawValue): \(fault.key): \(place): \(fault.detail)"]
            + fault.hits.map { hit in
                var states = hit.names
                states += hit.sequences.count == 1 ? ["commit"] : ["commits"]
                let numbers = hit.sequences.map(\.description).joined(separator: " ")
                let ranges = hit.ranges.map { "\($0.lowerBound)-\($0.upperBound - 1)" }
                let loss =
                    ranges.isEmpty
                    ? "every byte reads right" : "bytes " + ranges.joined(separator: ", ")
                return "  volume \(hit.volume) (\(states.joined(separator: ", ")) \(numbers)): "
                    + loss
            }
    }

    /// `{"whole":true,…}`; docs/operations/verify.md lists the keys.
    public var json: JSONValue {
        .object([
            "whole": .bool(isWhole), "complete": .bool(isComplete), "url": .string(url),
            "sample": .string(sampleText), "volumes": Self.number(counts.volumes),
            "commits": Self.number(counts.commits), "refs": Self.number(counts.refs),
            "packs": Self.number(counts.packs), "pages": Self.number(counts.pages),
            "nodes": Self.number(counts.nodes), "frames": Self.number(counts.frames),
            "frames_skipped": Self.number(counts.framesSkipped),
            "bytes": .number(counts.bytes), "faults": .array(faults.map(Self.json)),
            "notes": .array(notes.map(Self.json)),
        ])
    }

    private static func number(_ count: Int) -> JSONValue { .number(UInt64(max(0, count))) }

    private static func json(of fault: VerifyFault) -> JSONValue {
        var members: [String: JSONValue] = [
            "kind": .string(fault.kind.rawValue), "key": .string(fault.key),
            "part": .string(fault.part), "detail": .string(fault.detail),
            "hits": .array(fault.hits.map(json)),
        ]
        if let extent = fault.extent { members["extent"] = json(of: extent) }
        if let owner = fault.owner { members["volume"] = .string(owner.description) }
        return .object(members)
    }

    private static func json(of hit: VerifyHit) -> JSONValue {
        .object([
            "volume": .string(hit.volume.description),
            "names": .array(hit.names.map(JSONValue.string)),
            "sequences": .array(hit.sequences.map { .number($0.rawValue) }),
            "ranges": .array(hit.ranges.map(json)),
        ])
    }

    private static func json(of range: Range<UInt64>) -> JSONValue {
        .object([
            "offset": .number(range.lowerBound),
            "length": .number(range.upperBound - range.lowerBound),
        ])
    }
}
