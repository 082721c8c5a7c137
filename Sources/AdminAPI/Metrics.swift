// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Numbers for monitoring, and their text form (Prometheus exposition format 0.0.4). Families are
// built when somebody asks: nothing on the data path knows of this file.

private import Primitives
private import Synchronization

/// One metric name with its samples.
public struct MetricFamily: Equatable, Sendable {
    public enum Kind: String, Sendable { case counter, gauge }

    public struct Sample: Equatable, Sendable {
        public var labels: [(name: String, value: String)]
        public var value: Double

        public static func == (left: Self, right: Self) -> Bool {
            left.value == right.value
                && left.labels.elementsEqual(right.labels) { $0 == $1 }
        }
    }

    public let name: String
    public let help: String
    public let kind: Kind
    public var samples: [Sample] = []

    public init(_ name: String, _ kind: Kind, _ help: String) {
        self.name = name
        self.kind = kind
        self.help = help
    }

    public mutating func add(_ value: some BinaryInteger, _ labels: (String, String)...) {
        samples.append(
            Sample(labels: labels.map { (name: $0.0, value: $0.1) }, value: Double(value)))
    }

    /// To a millionth: what is less is no money.
    public mutating func add(dollars: Double, _ labels: (String, String)...) {
        samples.append(
            Sample(
                labels: labels.map { (name: $0.0, value: $0.1) },
                value: (dollars * 1e6).rounded() / 1e6))
    }
}

/// Renders families as text, sorted by name, samples in their own order.
public enum PrometheusText {
    public static func render(_ families: [MetricFamily]) -> String {
        var text = ""
        for family in families.sorted(by: { $0.name < $1.name }) {
            text += "# HELP \(family.name) \(escape(family.help, quotes: false))\n"
            text += "# TYPE \(family.name) \(family.kind.rawValue)\n"
            for sample in family.samples {
                text += family.name
                if !sample.labels.isEmpty {
                    let pairs = sample.labels.map { label in
                        "\(label.name)=\"\(escape(label.value, quotes: true))\""
                    }
                    text += "{" + pairs.joined(separator: ",") + "}"
                }
                text += " " + number(sample.value) + "\n"
            }
        }
        return text
    }

    private static func number(_ value: Double) -> String {
        if value.isNaN { return "NaN" }
        if value.isInfinite { return value > 0 ? "+Inf" : "-Inf" }
        if value == value.rounded(), abs(value) < 1e15 { return String(Int64(value)) }
        return String(value)
    }

    private static func escape(_ text: String, quotes: Bool) -> String {
        var escaped = ""
        for character in text {
            switch character {
            case "\\": escaped += "\\\\"
            case "\n": escaped += "\\n"
            case "\"" where quotes: escaped += "\\\""
            default: escaped.append(character)
            }
        }
        return escaped
    }
}

/// Counts the API's own requests. Any thread; a lock around one small table.
public final class RequestCounters: Sendable {
    private struct Key: Hashable {
        let method: String
        let status: Int
    }
    /// Methods are the client's text: only known ones become labels, so that the table stays small.
    private static let methods: Set<String> = ["GET", "PUT", "POST", "DELETE", "HEAD"]

    private let counts = Lock<[Key: UInt64]>([:])

    public init() {}

    func count(method: String, status: Int) {
        let name = Self.methods.contains(method) ? method : "other"
        counts.withLock { $0[Key(method: name, status: status), default: 0] += 1 }
    }

    public var family: MetricFamily {
        var family = MetricFamily(
            "martlet_api_requests_total", .counter, "Requests answered by the HTTP API.")
        let sorted = counts.withLock { table in
            table.sorted { ($0.key.method, $0.key.status) < ($1.key.method, $1.key.status) }
        }
        for (key, count) in sorted {
            family.add(count, ("method", key.method), ("status", String(key.status)))
        }
        return family
    }
}
