// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Decoded objects as lines for people. Pure: `martlet inspect` reads the bytes and prints the
// lines. Fields carry the names that docs/formats uses, in the order of the bytes.

internal import Primitives

/// Lines of `name: value`, parts indented by two spaces for each level.
public struct InspectText: Equatable, Sendable {
    public private(set) var lines: [String] = []
    private var depth = 0

    public init() {}

    mutating func field(_ name: String, _ value: some CustomStringConvertible) {
        lines.append(String(repeating: "  ", count: depth) + name + ": " + value.description)
    }

    mutating func title(_ text: String) { lines.append(text) }

    mutating func part(_ title: String, _ body: (inout InspectText) -> Void) {
        lines.append(String(repeating: "  ", count: depth) + title)
        depth += 1
        body(&self)
        depth -= 1
    }

    // MARK: Objects

    /// A pack by its trailer and index.
    public static func inspectPack(_ trailer: PackTrailer, _ index: PackIndex) -> [String] {
        var text = InspectText()
        text.lines.append("pack, version \(Pack.version)")
        text.add(index.pack)
        text.field("bytes", trailer.packBytes)
        text.part("index") { text in
            text.field("offset", trailer.index.offset)
            text.field("length", trailer.index.length)
            text.field("hash", trailer.indexHash)
            text.field("members", index.members.count)
        }
        for kind in PackMemberKind.allCases {
            let members = index.members.filter { $0.kind == kind }
            let bytes = members.reduce(0) { $0 + UInt64($1.extent.length) }
            text.field("\(kind) members", "\(members.count), \(bytes) bytes")
        }
        for (number, member) in index.members.enumerated() {
            text.field(
                "member \(number)",
                "\(member.kind) at \(member.extent.offset) length \(member.extent.length)"
                    + " hash \(member.hash)")
        }
        return text.lines
    }

    public static func inspectFrame(_ header: FrameHeader) -> [String] {
        var text = InspectText()
        text.lines.append("frame, version \(FrameHeader.version)")
        text.field("codec", "\(header.codec)")
        text.field("cipher", "\(header.cipher)")
        text.field("kind", "\(header.kind)")
        text.field("grains", header.grains)
        text.field("raw", header.rawLength)
        text.field("stored", header.storedLength)
        text.field("hash", header.hash)
        text.field("mask", grains(of: header.mask))
        return text.lines
    }

    public static func inspectNode(_ node: MapNode) -> [String] {
        var text = InspectText()
        text.lines.append("map node, version \(MapNode.version)")
        text.field("block bytes", node.blockBytes)
        text.field("chunk", node.chunk)
        text.field("blocks", node.blockCount)
        text.field("frames", node.frameCount)
        text.field("digest", node.digest())
        for (index, entry) in node.entries.sorted(by: { $0.key < $1.key }) {
            text.part("block \(node.block(at: index))") { text in
                for frame in entry.frames { text.add(frame, grains: node.grains) }
            }
        }
        return text.lines
    }

    public static func inspectChunkPage(_ page: ChunkTablePage) -> [String] {
        var text = InspectText()
        text.add(page)
        return text.lines
    }

    public static func inspectPackPage(_ page: PackTablePage) -> [String] {
        var text = InspectText()
        text.add(page)
        return text.lines
    }

    public static func inspectCommit(_ commit: Commit) -> [String] {
        var text = InspectText()
        text.lines.append("commit, version \(Commit.version)")
        text.field("key", commit.key)
        text.field("volume", commit.volume)
        text.field("sequence", commit.sequence)
        text.field("epoch", commit.epoch)
        text.field("token", commit.token)
        text.field("parent", commit.parentToken)
        text.field("state", "\(commit.state)")
        text.field("fence", commit.isFence)
        if commit.keepsContent { text.field("same content", true) }
        text.field("block bytes", commit.blockBytes)
        text.field("size", commit.size)
        text.field("cut", commit.cut)
        text.field("label", commit.labelSeconds)
        text.field("slots", commit.slotCount)
        if let takeover = commit.uncleanTakeover {
            text.part("unclean take-over") { text in
                text.field("epoch", takeover.epoch)
                text.field("sequence", takeover.sequence)
                text.field("label", takeover.labelSeconds)
            }
        }
        if let copied = commit.copied {
            text.part("copy of") { text in
                text.field("volume", copied.volume)
                text.field("sequence", copied.sequence)
                text.field("token", copied.token)
            }
        }
        text.field("digest", commit.digest)
        text.add(commit.chunkPages, title: "chunk page") { text, bytes in
            if let page = try? ChunkTablePage(decoding: bytes) { text.add(page) }
        }
        text.add(commit.packPages, title: "pack page") { text, bytes in
            if let page = try? PackTablePage(decoding: bytes) { text.add(page) }
        }
        return text.lines
    }

    // MARK: Parts

    private mutating func add(_ pack: PackID) {
        field("pack", pack.key)
        field("volume", pack.volume)
        field("epoch", pack.epoch)
        field("sequence", pack.sequence)
        field("number", pack.number)
        field("token", pack.token)
    }

    private mutating func add(_ frame: FramePointer, grains: Int) {
        field(
            frame.isFull(grains: grains) ? "full" : "delta",
            "slot \(frame.slot) offset \(frame.offset) length \(frame.length) hash \(frame.hash)"
                + " grains \(Self.grains(of: frame.mask))")
    }

    private mutating func add(_ page: ChunkTablePage) {
        part("chunk table page, version \(ChunkEntry.version)") { text in
            text.field("page", page.index)
            text.field("block bytes", page.blockBytes)
            text.field("entries", page.entryCount)
            for (index, entry) in page.entries.enumerated() {
                guard let entry else { continue }
                text.part("chunk \(page.chunk(at: index))") { text in
                    text.field(
                        "node",
                        "slot \(entry.slot) offset \(entry.offset) length \(entry.length)"
                            + " hash \(entry.hash)")
                    text.field("digest", entry.digest)
                    text.field("blocks", entry.blockCount)
                    text.field("frames", entry.frameCount)
                }
            }
        }
    }

    private mutating func add(_ page: PackTablePage) {
        part("pack table page, version \(PackEntry.version)") { text in
            text.field("page", page.index)
            text.field("entries", page.entryCount)
            for (index, entry) in page.entries.enumerated() {
                guard let entry else { continue }
                text.part("slot \(page.slot(at: index))") { text in
                    text.field("pack", entry.pack.key)
                    text.field("references", "\(entry.live) live of \(entry.total)")
                    text.field("bytes", entry.bytes)
                }
            }
        }
    }

    private mutating func add(
        _ list: PageList, title: String,
        page: (inout InspectText, UnsafeRawBufferPointer) -> Void
    ) {
        for entry in list.entries {
            part("\(title) \(entry.index)") { text in
                text.field("hash", entry.page.hash)
                switch entry.page {
                case .inline(let bytes):
                    text.field("inline", "\(bytes.count) bytes")
                    bytes.withUnsafeBytes { page(&text, $0) }
                case .packed(let pointer):
                    text.field(
                        "packed",
                        "\(pointer.pack.key) offset \(pointer.offset) length \(pointer.length)")
                }
            }
        }
    }

    /// Runs of grains: `0-3,7`.
    static func grains(of mask: GrainMask) -> String {
        var runs: [String] = []
        var from = 0
        while let run = mask.run(from: from) {
            runs.append(
                run.count == 1
                    ? "\(run.lowerBound)" : "\(run.lowerBound)-\(run.upperBound - 1)")
            from = run.upperBound
        }
        return runs.joined(separator: ",")
    }
}
