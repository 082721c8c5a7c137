// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The second half of the handshake: what is written once the registry has answered.

import BlockDevice
import Primitives

extension Haggling {
    /// Ends a `resolve`; call `next` after it.
    public mutating func answer(_ verdict: ExportVerdict) {
        guard case .asking(let question) = state else {
            preconditionFailure("nothing was asked")
        }
        state = .option
        switch question {
        case .list: preconditionFailure("a list was asked")
        case .exportName(let name): answerExportName(name, verdict)
        case .describe(let option, let name, let wanted):
            answerDescribe(option, name, wanted, verdict)
        case .metaContext(let option, let name, let queries):
            answerMetaContext(option, name, queries, verdict)
        }
    }

    /// Ends a `list`. Names beyond `listedMax` are left out.
    public mutating func answer(list names: [(name: String, description: String)]) {
        guard case .asking(.list) = state else { preconditionFailure("no list was asked") }
        state = .option
        for (name, description) in names.prefix(Haggling.listedMax) {
            let name = Array(name.utf8)
            let description = Array(description.utf8)
            replyHeader(
                NBDOption.list.rawValue, .server, length: 4 + name.count + description.count)
            output.append(big: UInt32(name.count))
            output.append(contentsOf: name)
            output.append(contentsOf: description)
        }
        reply(NBDOption.list.rawValue, .acknowledge)
    }

    /// EXPORT_NAME has no way to say no but to hang up.
    private mutating func answerExportName(_ name: String, _ verdict: ExportVerdict) {
        guard case .found(let offer) = verdict, tells(offer, of: name) else {
            state = .ended(.drop)
            return
        }
        output.append(big: offer.geometry.size.rawValue)
        let flags = TransmissionFlags(geometry: offer.geometry, structured: structured)
        output.append(big: flags.rawValue)
        if !noZeroes { output.append(contentsOf: repeatElement(0, count: 124)) }
        begin(name)
    }

    private mutating func begin(_ name: String) {
        let chosen = contexts(of: name)
        state = .ended(
            .begin(
                Agreement(
                    name: name, structured: structured, allocationContext: chosen.allocation,
                    bitmaps: chosen.bitmaps)))
    }

    /// Whoever chose a bitmap waits for it in every answer.
    private func tells(_ offer: ExportOffer, of name: String) -> Bool {
        offer.changes.count == contexts(of: name).bitmaps.count
    }

    private mutating func answerDescribe(
        _ option: NBDOption, _ name: String, _ wanted: [UInt16], _ verdict: ExportVerdict
    ) {
        guard let offer = found(option, verdict) else { return }
        guard option != .go || tells(offer, of: name) else {
            return reply(option.rawValue, .policy, "what changed is not known")
        }
        replyHeader(option.rawValue, .info, length: 12)
        output.append(big: NBDInfo.export.rawValue)
        output.append(big: offer.geometry.size.rawValue)
        let flags = TransmissionFlags(geometry: offer.geometry, structured: structured)
        output.append(big: flags.rawValue)
        for kind in wanted {
            switch NBDInfo(rawValue: kind) {
            case .name: replyInfo(option, .name, offer.name)
            case .description: replyInfo(option, .description, offer.description)
            case .blockSize:
                replyHeader(option.rawValue, .info, length: 14)
                output.append(big: NBDInfo.blockSize.rawValue)
                for bytes in BlockSizes.all { output.append(big: bytes) }
            case .export, nil: break
            }
        }
        reply(option.rawValue, .acknowledge)
        if option == .go { begin(name) }
    }

    private mutating func answerMetaContext(
        _ option: NBDOption, _ name: String, _ queries: ContextQueries, _ verdict: ExportVerdict
    ) {
        guard let offer = found(option, verdict) else { return }
        var bitmaps =
            queries.allBitmaps ? offer.bitmaps : queries.bitmaps.filter(offer.bitmaps.contains)
        if option == .setMetaContext {
            bitmaps = Array(bitmaps.prefix(MetaContext.bitmapsMax))
            contexts = ChosenContexts(
                name: name, allocation: queries.allocation, bitmaps: bitmaps)
        }
        if queries.allocation {
            replyContext(option, MetaContext.allocationID, MetaContext.allocation)
        }
        for (index, bitmap) in bitmaps.prefix(Haggling.listedMax).enumerated() {
            replyContext(option, MetaContext.bitmapID(index), MetaContext.bitmapPrefix + bitmap)
        }
        reply(option.rawValue, .acknowledge)
    }

    private mutating func replyContext(_ option: NBDOption, _ number: UInt32, _ name: String) {
        let name = bounded(name)
        replyHeader(option.rawValue, .metaContext, length: 4 + name.count)
        output.append(big: number)
        output.append(contentsOf: name)
    }

    /// The offer, or nil after the refusal was written.
    private mutating func found(_ option: NBDOption, _ verdict: ExportVerdict) -> ExportOffer? {
        switch verdict {
        case .found(let offer): return offer
        case .notFound: reply(option.rawValue, .unknownExport, "no such export")
        case .refused(let why): reply(option.rawValue, .policy, why)
        case .notNow(let why): reply(option.rawValue, .shuttingDown, why)
        }
        return nil
    }

    // MARK: Writing replies

    func bounded(_ text: String) -> [UInt8] {
        var text = Substring(text)
        while text.utf8.count > Haggling.stringBytesMax { text.removeLast() }
        return Array(text.utf8)
    }

    mutating func reply(_ option: UInt32, _ kind: NBDOptionReply, _ text: String = "") {
        let text = bounded(text)
        replyHeader(option, kind, length: text.count)
        output.append(contentsOf: text)
    }

    private mutating func replyInfo(_ option: NBDOption, _ info: NBDInfo, _ text: String) {
        let text = bounded(text)
        replyHeader(option.rawValue, .info, length: 2 + text.count)
        output.append(big: info.rawValue)
        output.append(contentsOf: text)
    }

    mutating func replyHeader(_ option: UInt32, _ kind: NBDOptionReply, length: Int) {
        output.append(big: NBDMagic.optionReply)
        output.append(big: option)
        output.append(big: kind.rawValue)
        output.append(big: UInt32(length))
    }
}

/// What INFO says of request sizes.
public enum BlockSizes {
    public static let least: UInt32 = 1
    public static let preferred: UInt32 = 4096
    public static let most: UInt32 = 32 << 20
    static let all = [least, preferred, most]
}
