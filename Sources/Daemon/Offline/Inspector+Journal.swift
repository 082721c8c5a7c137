// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Journals: one segment, or the journal of a volume with what a recovery would accept of it. The
// cut comes from the volume's local root, beside the journal's folder.

import Formats
import HostIO
import Journal
public import Primitives

extension Inspector {
    /// A segment file, a journal folder, or the folder of a volume.
    public func journal() throws(UserError) -> Inspection {
        guard source.isLocal else {
            throw UserError(
                .notFound, what: source.what, why: "no such file or folder",
                remedy: "give a segment, or CACHE/volumes/ID/journal")
        }
        let folder: HostDirectory
        do throws(HostIOError) {
            folder = try HostDirectory.open(path: source.argument, create: false)
        } catch { return Inspection(lines: try segmentFile()) }
        do {
            if try folder.exists("journal") {
                let journal = try folder.directory("journal", create: false)
                return Inspection(lines: try lines(of: journal, named: "journal", in: folder))
            }
            let parent = try? HostDirectory.open(path: source.argument + "/..", create: false)
            return Inspection(
                lines: try lines(of: folder, named: source.argument, in: parent))
        } catch let error as HostIOError {
            throw source.local(error)
        } catch let error as UserError {
            throw error
        } catch { throw source.absent(source.argument) }
    }

    private func segmentFile() throws(UserError) -> [String] {
        let (folder, name) = source.place
        do {
            let directory = try HostDirectory.open(path: folder, create: false)
            let file = try directory.open(name, writable: false)
            return try lines(ofSegment: file, name: name, isStrict: true)
        } catch let error as HostIOError {
            throw source.local(error)
        } catch let error as UserError {
            throw error
        } catch { throw source.absent(folder) }
    }

    /// `isStrict`: a file that is no segment is a failure, not a line.
    private func lines(
        ofSegment file: HostFile, name: String, isStrict: Bool
    ) throws(UserError) -> [String] {
        do throws(InspectionError) {
            let segment = try JournalInspection.segment(file)
            var lines = InspectText.inspectSegment(segment.header)
            for batch in segment.batches {
                lines += InspectText.inspectBatch(
                    batch.header, page: batch.page, records: batch.records)
            }
            lines.append("batches: \(segment.batches.count)")
            lines.append("end page: \(segment.endPage)")
            if let end = segment.end { lines.append("end: \(end.explanation)") }
            return lines
        } catch {
            switch error {
            case .io(let failure): throw source.local(failure)
            case .format(let failure):
                guard !isStrict else { throw source.refusal(failure) }
                return ["refused: \(failure.explanation)"]
            }
        }
    }

    private func lines(
        of journal: HostDirectory, named name: String, in volume: HostDirectory?
    ) throws(UserError) -> [String] {
        do throws(HostIOError) {
            var lines: [String] = []
            var headers: [SegmentHeader] = []
            for name in try JournalInspection.segmentNames(in: journal) {
                let file = try journal.open(name, writable: false)
                lines.append("segment \(name.prefix { $0 != "." })")
                let shown: [String]
                do throws(UserError) {
                    shown = try self.lines(ofSegment: file, name: name, isStrict: false)
                } catch { shown = ["refused: \(error.why)"] }
                lines += shown.map { "  " + $0 }
                if let segment = try? JournalInspection.segment(file) {
                    headers.append(segment.header)
                }
            }
            let root = try KeptJournal.root(of: journal, named: name, in: volume)
            return try lines + verdict(of: journal, headers, after: root)
        } catch { throw source.local(error) }
    }

    private func verdict(
        of journal: HostDirectory, _ headers: [SegmentHeader], after root: Commit?
    ) throws(HostIOError) -> [String] {
        guard let id = root?.volume ?? headers.first?.volume else {
            return ["recovery", "  segments: none"]
        }
        // Without a root nothing is known to be published.
        let first = headers.map(\.firstSequence).min().map { $0.rawValue - 1 } ?? 0
        let cut = root?.cut ?? RecordSequence(first)
        let verdict = try JournalInspection.verdict(of: journal, volume: id, cut: cut)
        var lines = ["recovery"]
        func add(_ name: String, _ value: some CustomStringConvertible) {
            lines.append("  \(name): \(value)")
        }
        add("volume", id)
        add("root", root.map { "commit \($0.sequence)" } ?? "none beside the journal")
        add("cut", cut)
        add("walked", verdict.walked.joined(separator: " "))
        add("superseded", verdict.superseded.joined(separator: " "))
        add("strangers", verdict.strangers.joined(separator: " "))
        add("accepted units", verdict.units)
        add("accepted records", verdict.records)
        add("accepted write bytes", verdict.writtenBytes)
        add("last record", verdict.lastSequence)
        if case .rotted(let segment, let batch, let claimed) = verdict.rotted {
            add(
                "quarantine",
                "batch \(batch) of \(segment) cannot be read, and batches up to \(claimed) were"
                    + " flushed")
        }
        return lines
    }
}
