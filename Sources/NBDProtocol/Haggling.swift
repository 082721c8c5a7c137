// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The fixed-newstyle handshake as a synchronous state machine: bytes in, bytes out, and what to do.
// It trusts nothing: every length is bounded before it is waited for, and options are counted.
//
//   clientFlags ─▶ option ◀──────────────┐
//                    │ reply at once ─────┤
//                    │ too long: skip ────┤
//                    └ needs the registry ─▶ asking ─(answer)─▶ option, begun or closed
//
// `next` says what to do; after `resolve` and `list` it says `wait` until `answer` was called.

public import BlockDevice

/// What the registry says of one export.
public struct ExportOffer: Sendable, Equatable {
    /// The name as INFO tells it.
    public var name: String
    public var description: String
    public var geometry: DeviceGeometry
    /// Snapshots since which it can tell changes, where that was asked.
    public var bitmaps: [String] = []
    /// The changes since those that the client chose, in their order.
    public var changes: [ChangeMap] = []

    public init(name: String, description: String, geometry: DeviceGeometry) {
        self.name = name
        self.description = description
        self.geometry = geometry
    }
}

/// Why an export is looked up.
public enum ExportPurpose: Sendable, Equatable {
    /// To tell of it.
    case describe
    /// To tell since which snapshots it can tell changes, too.
    case contexts
    /// To use it: the connection follows, unless the client goes away meanwhile. `bitmaps` are
    /// those that the client chose of what `contexts` told.
    case attach(bitmaps: [String])
}

/// The registry's answer to a name.
public enum ExportVerdict: Sendable, Equatable {
    case found(ExportOffer)
    case notFound
    /// Exists, but this client may not have it, with a reason for its user.
    case refused(String)
    /// The server is starting or stopping, or the store is away.
    case notNow(String)
}

/// What client and server have agreed on when transmission begins.
public struct Agreement: Sendable, Equatable {
    /// The name as the client wrote it.
    public var name: String
    public var structured: Bool
    /// The client has chosen `base:allocation` for this export.
    public var allocationContext: Bool
    /// The snapshots since which it wants to know changes.
    public var bitmaps: [String]

    public init(
        name: String, structured: Bool, allocationContext: Bool, bitmaps: [String] = []
    ) {
        self.name = name
        self.structured = structured
        self.allocationContext = allocationContext
        self.bitmaps = bitmaps
    }
}

/// What the owner of the connection does next.
public enum HaggleAction: Sendable, Equatable {
    /// Send the output, read more, or wait for the registry.
    case wait
    /// Look an export up, and `answer`.
    case resolve(name: String, for: ExportPurpose)
    /// List all exports, and `answer`.
    case list
    /// Send the output; what `takeLeftover` answers is already transmission.
    case begin(Agreement)
    /// Send the output and close.
    case close
    /// Close at once: the peer does not speak the protocol, or floods.
    case drop
}

/// One client's negotiation.
public struct Haggling: Sendable {
    /// Bytes of an option's data that are taken; what is longer is skipped or costs the connection.
    public static let optionBytesMax = 16 << 10
    /// Bytes of an option that are skipped and answered with "too big".
    public static let optionBytesSkippedMax = 1 << 20
    /// Options of one client, an order of magnitude above what any known client sends.
    public static let optionsMax = 128
    /// Bytes of a string, as the protocol says.
    public static let stringBytesMax = 4096
    /// Names told to one LIST.
    public static let listedMax = 10_000

    enum State: Sendable {
        case clientFlags
        case option
        case skipping(option: UInt32, left: Int)
        case asking(Question)
        case ended(HaggleAction)
    }

    /// What waits for the registry.
    enum Question: Sendable {
        case list
        case exportName(name: String)
        case describe(option: NBDOption, name: String, wanted: [UInt16])
        case metaContext(option: NBDOption, name: String, ContextQueries)
    }

    /// What a client asks for of an export's contexts.
    struct ContextQueries: Sendable {
        var allocation = false
        /// Every bitmap that there is.
        var allBitmaps = false
        var bitmaps: [String] = []
    }

    /// What a client has chosen of them.
    struct ChosenContexts: Sendable {
        let name: String
        let allocation: Bool
        let bitmaps: [String]
    }

    var state = State.clientFlags
    private var input: [UInt8] = []
    var output: [UInt8] = []
    private var options = 0
    var noZeroes = false
    private var isFixed = false
    var structured = false
    /// The last SET_META_CONTEXT that came to something.
    var contexts: ChosenContexts?

    /// Starts with the greeting in the output.
    public init() {
        output.append(big: NBDMagic.hello)
        output.append(big: NBDMagic.option)
        let flags: HandshakeFlags = [.fixedNewstyle, .noZeroes]
        output.append(big: UInt16(flags.rawValue))
    }

    /// Whether reading on makes sense: not while the registry is asked, nor at the end.
    public var wantsInput: Bool {
        switch state {
        case .clientFlags, .option, .skipping: true
        case .asking, .ended: false
        }
    }

    /// Hands bytes of the client in; call `next` until it says `wait`.
    public mutating func receive(_ bytes: UnsafeRawBufferPointer) {
        input.append(contentsOf: bytes)
    }

    /// The bytes to send now.
    public mutating func takeOutput() -> [UInt8] {
        defer { output = [] }
        return output
    }

    /// The bytes that the client sent beyond the handshake. Called once, after `begin`.
    public mutating func takeLeftover() -> [UInt8] {
        defer { input = [] }
        return input
    }

    /// Goes as far as the input allows.
    public mutating func next() -> HaggleAction {
        while true {
            switch state {
            case .clientFlags:
                guard input.count >= 4 else { return .wait }
                guard readClientFlags() else { return end(.drop) }
                state = .option
            case .skipping(let option, let left):
                let count = min(left, input.count)
                input.removeFirst(count)
                guard left == count else {
                    state = .skipping(option: option, left: left - count)
                    return .wait
                }
                reply(option, .tooBig, "option data over \(Haggling.optionBytesMax) bytes")
                state = .option
            case .option:
                guard let action = takeOption() else { continue }
                return action
            case .asking: return .wait
            case .ended(let action): return action
            }
        }
    }

    private mutating func readClientFlags() -> Bool {
        let flags = HandshakeFlags(rawValue: UInt32(big: input, at: 0))
        input.removeFirst(4)
        isFixed = flags.contains(.fixedNewstyle)
        noZeroes = flags.contains(.noZeroes)
        return flags.isSubset(of: [.fixedNewstyle, .noZeroes])
    }

    mutating func end(_ action: HaggleAction) -> HaggleAction {
        state = .ended(action)
        return action
    }

    /// Reads one option if it is whole. Nil: go on.
    private mutating func takeOption() -> HaggleAction? {
        guard input.count >= 16 else { return .wait }
        guard UInt64(big: input, at: 0) == NBDMagic.option else { return end(.drop) }
        let option = UInt32(big: input, at: 8)
        let length = Int(UInt32(big: input, at: 12))
        if length > Haggling.optionBytesMax {
            guard length <= Haggling.optionBytesSkippedMax, isFixed,
                option != NBDOption.exportName.rawValue
            else { return end(.drop) }
        } else if input.count < 16 + length {
            return .wait
        }
        options += 1
        guard options <= Haggling.optionsMax else { return end(.drop) }
        if length > Haggling.optionBytesMax {
            input.removeFirst(16)
            state = .skipping(option: option, left: length)
            return nil
        }
        let data = Array(input[16..<16 + length])
        input.removeFirst(16 + length)
        // A client that did not say "fixed newstyle" could not read the reply to anything else.
        guard isFixed || option == NBDOption.exportName.rawValue else { return end(.drop) }
        guard let known = NBDOption(rawValue: option) else {
            reply(option, .unsupported)
            return nil
        }
        return handle(known, data)
    }

    private mutating func handle(_ option: NBDOption, _ data: [UInt8]) -> HaggleAction? {
        switch option {
        case .exportName:
            guard data.count <= Haggling.stringBytesMax, let name = String(validating: data[...])
            else { return end(.drop) }
            state = .asking(.exportName(name: name))
            return .resolve(
                name: name, for: .attach(bitmaps: contexts(of: name).bitmaps))
        case .abort:
            reply(option.rawValue, .acknowledge)
            return end(.close)
        case .list:
            guard data.isEmpty else { return refuse(option, "LIST takes no data") }
            state = .asking(.list)
            return .list
        case .structuredReply:
            guard data.isEmpty else { return refuse(option, "STRUCTURED_REPLY takes no data") }
            structured = true
            reply(option.rawValue, .acknowledge)
            return nil
        case .info, .go: return describe(option, data)
        case .listMetaContext, .setMetaContext: return metaContext(option, data)
        case .peekExport, .startTLS, .extendedHeaders:
            reply(option.rawValue, .unsupported)
            return nil
        }
    }

    private mutating func refuse(_ option: NBDOption, _ why: String) -> HaggleAction? {
        reply(option.rawValue, .invalid, why)
        return nil
    }

    private mutating func describe(_ option: NBDOption, _ data: [UInt8]) -> HaggleAction? {
        var reader = OptionReader(data)
        guard let name = reader.string(), let count = reader.number16(),
            reader.left == Int(count) * 2
        else { return refuse(option, "malformed export name or information list") }
        var wanted: [UInt16] = []
        while let kind = reader.number16() {
            if !wanted.contains(kind) { wanted.append(kind) }
        }
        state = .asking(.describe(option: option, name: name, wanted: wanted))
        return .resolve(
            name: name,
            for: option == .go ? .attach(bitmaps: contexts(of: name).bitmaps) : .describe)
    }

    private mutating func metaContext(_ option: NBDOption, _ data: [UInt8]) -> HaggleAction? {
        // Whatever comes of it, a new SET replaces what was chosen before.
        if option == .setMetaContext { contexts = nil }
        guard structured else { return refuse(option, "needs STRUCTURED_REPLY first") }
        var reader = OptionReader(data)
        guard let name = reader.string(), let count = reader.number32() else {
            return refuse(option, "malformed export name or query count")
        }
        let lists = option == .listMetaContext
        // Without queries LIST means all contexts, SET means none.
        var queries = ContextQueries()
        if count == 0, lists { queries = ContextQueries(allocation: true, allBitmaps: true) }
        var seen: UInt32 = 0
        while seen < count {
            guard let query = reader.string() else {
                return refuse(option, "malformed query")
            }
            queries.add(query, lists: lists)
            seen += 1
        }
        guard reader.left == 0 else { return refuse(option, "data after the last query") }
        state = .asking(.metaContext(option: option, name: name, queries))
        return .resolve(name: name, for: .contexts)
    }

    /// The contexts that count for an export.
    func contexts(of name: String) -> ChosenContexts {
        if let contexts, contexts.name == name { return contexts }
        return ChosenContexts(name: name, allocation: false, bitmaps: [])
    }
}

extension Haggling.ContextQueries {
    mutating func add(_ query: String, lists: Bool) {
        switch query {
        case MetaContext.allocation: allocation = true
        case "base:" where lists: allocation = true
        case "qemu:" where lists, MetaContext.bitmapPrefix where lists: allBitmaps = true
        default:
            guard query.hasPrefix(MetaContext.bitmapPrefix) else { return }
            let name = String(query.dropFirst(MetaContext.bitmapPrefix.count))
            if !bitmaps.contains(name) { bitmaps.append(name) }
        }
    }
}

/// Reads an option's data; every read answers nil at the end or if a length does not fit.
struct OptionReader {
    private let bytes: [UInt8]
    private var place = 0

    init(_ bytes: [UInt8]) { self.bytes = bytes }

    var left: Int { bytes.count - place }

    mutating func number16() -> UInt16? {
        guard left >= 2 else { return nil }
        defer { place += 2 }
        return UInt16(bytes[place]) << 8 | UInt16(bytes[place + 1])
    }

    mutating func number32() -> UInt32? {
        guard left >= 4 else { return nil }
        defer { place += 4 }
        return UInt32(big: bytes, at: place)
    }

    mutating func string() -> String? {
        guard let count = number32(), count <= Haggling.stringBytesMax, Int(count) <= left else {
            return nil
        }
        defer { place += Int(count) }
        return String(validating: bytes[place..<place + Int(count)])
    }
}

extension String {
    /// Text of a client: UTF-8 without zero bytes, or nil.
    init?(validating bytes: ArraySlice<UInt8>) {
        guard !bytes.contains(0) else { return nil }
        self.init(validating: bytes, as: UTF8.self)
    }
}

extension UInt32 {
    init(big bytes: [UInt8], at place: Int) {
        self = bytes[place..<place + 4].reduce(0) { $0 << 8 | UInt32($1) }
    }
}

extension UInt64 {
    init(big bytes: [UInt8], at place: Int) {
        self = bytes[place..<place + 8].reduce(0) { $0 << 8 | UInt64($1) }
    }
}

extension [UInt8] {
    mutating func append(big value: some FixedWidthInteger) {
        Swift.withUnsafeBytes(of: value.bigEndian) { append(contentsOf: $0) }
    }
}
