// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet journal salvage`: what a writer that was fenced, or a volume that was quarantined, still
// holds, as a block diff from the last commit that it knew. Needs the cache directory alone, and
// changes nothing in it.

import ControlPlane
import Documents
import Formats
import Glibc
import HostIO
import ImageTools
import Journal
public import Primitives

/// What was asked for.
public struct SalvageOrder: Sendable {
    /// A volume's folder in a cache directory, or a journal's in that.
    public var folder: String
    /// A path, or `-` for standard output.
    public var file: String
    /// Which journal of the volume's folder.
    public var journal: String?
    /// How version 2 stores pieces; nil: version 1.
    public var codec: Codec?
    /// A file that is there is replaced.
    public var replaces = false
    /// What stands before flushed data that rotted is written.
    public var takesPart = false

    public init(folder: String, file: String) {
        self.folder = folder
        self.file = file
    }
}

public enum JournalSalvage {
    /// Writes the diff. SIGINT and SIGTERM end it with a failure, and nothing is left behind.
    public static func run(
        _ order: SalvageOrder, progress: @escaping (_ done: UInt64, _ total: UInt64) -> Void
    ) throws(UserError) -> ExportedImage {
        let what = "cannot salvage \(order.folder.prefix(300))"
        Interrupts.catchFirst()
        signal(SIGPIPE, SIG_IGN)
        if order.file == "-", HostStream.output.isTerminal {
            throw UserError(
                .badRequest, what: what, why: "standard output is a terminal",
                remedy: "send it to a file or a pipe")
        }
        let found = try KeptJournal.find(order.folder, named: order.journal, what)
        guard let root = found.root else {
            throw UserError(
                .failed, what: what, why: "no commit lies beside \(found.name) that it continues",
                remedy: "restore the folder root/ beside it, or the file root in it")
        }
        let journal = try explainLocal(what) { () throws(HostIOError) in
            try SalvagedJournal(
                found.journal, volume: root.volume, cut: root.cut, size: root.size,
                blockBytes: root.blockBytes)
        }
        try check(journal.verdict, order, what)
        var random = SystemRandom()
        let export = JournalExport(journal, base: root.size, codec: order.codec) {
            progress($0.bytes, $0.bytesTotal)
            return !Interrupts.wasCaught
        }
        do throws(ExportError) {
            let summary: ExportSummary
            if order.file == "-" {
                summary = try export.write(to: HostStream.output)
            } else {
                let place: ImagePlace<HostDirectory>
                do throws(ImageFileError) { place = try ImagePlace(path: order.file) } catch {
                    throw ExportError(error)
                }
                summary = try export.write(place, replaces: order.replaces, token: random.next())
            }
            return answer(found.name, root, journal.verdict, summary)
        } catch { throw error.userError(what) }
    }

    private static func check(
        _ verdict: JournalVerdict, _ order: SalvageOrder, _ what: String
    ) throws(UserError) {
        guard case .rotted(let segment, let batch, let claimed) = verdict.rotted, !order.takesPart
        else { return }
        throw UserError(
            .failed, what: what,
            why: "batch \(batch) of \(segment) cannot be read, and batches up to \(claimed) were "
                + "flushed: only \(verdict.units) requests before it can be had",
            remedy: "copy the segment from a backup, or take what there is with --partial")
    }

    private static func answer(
        _ name: String, _ root: Commit, _ verdict: JournalVerdict, _ summary: ExportSummary
    ) -> ExportedImage {
        var lines = [
            "journal: \(name)", "volume: \(root.volume)", "since commit: \(root.sequence)",
            "size before: \(root.size)", "size: \(summary.size)", "requests: \(verdict.units)",
            "last record: \(verdict.lastSequence)", "data: \(summary.dataBytes)",
        ]
        if verdict.rotted != nil { lines.append("note: a part: what followed cannot be read") }
        let members: [String: JSONValue] = [
            "journal": .string(name), "volume": .string("\(root.volume)"),
            "since_sequence": .number(root.sequence.rawValue),
            "base_size": .number(root.size.rawValue), "size": .number(summary.size),
            "requests": .number(UInt64(verdict.units)),
            "last_record": .number(verdict.lastSequence.rawValue),
            "data": .number(summary.dataBytes), "partial": .bool(verdict.rotted != nil),
        ]
        return ExportedImage(lines: lines, json: JSONValue.object(members).text)
    }
}
