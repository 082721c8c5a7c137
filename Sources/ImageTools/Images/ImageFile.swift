// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Opening an image and the backing files that the user named for it, each by its name on the
// command line and in its order.

public import HostIO

public enum DiskFormat: String, Sendable, CaseIterable {
    case raw
    case qcow2
}

/// Opens images.
public enum ImageFile {
    /// Backing files below one image.
    public static let chainMax = 64

    /// The first file is the image, each further one the backing file of the one before. `format`
    /// is that of the image; without it, and for backing files, the first bytes decide: a file that
    /// does not begin as qcow2 is raw.
    public static func open<File: ExtentFile>(
        _ files: [File], format: DiskFormat? = nil
    ) throws(ImageError) -> any DiskImage {
        precondition(!files.isEmpty)
        guard files.count <= chainMax + 1 else {
            throw .unsupported(
                feature: "\(files.count - 1) backing files", remedy: "name at most \(chainMax)")
        }
        var below: (any DiskImage)?
        for (number, file) in files.enumerated().reversed() {
            let isNamed = number == 0 && format != nil
            switch isNamed ? format ?? .raw : try probe(file) {
            case .qcow2: below = try Qcow2Image(file, backing: below)
            case .raw:
                guard below == nil else {
                    throw .unsupported(
                        feature: "a raw image has no backing file", remedy: "leave --backing out")
                }
                below = try RawDisk(file)
            }
        }
        guard let below else { preconditionFailure("there is a file") }
        return below
    }

    private static func probe(_ file: some BlockFile) throws(ImageError) -> DiskFormat {
        var isQcow2 = false
        var failure: HostIOError?
        withUnsafeTemporaryAllocation(byteCount: 4, alignment: 4) { buffer in
            do throws(HostIOError) {
                let count = try file.read(at: 0, into: buffer)
                isQcow2 = Qcow2Header.isHeader(UnsafeRawBufferPointer(rebasing: buffer[..<count]))
            } catch { failure = error }
        }
        if let failure { throw .file(failure) }
        return isQcow2 ? .qcow2 : .raw
    }
}
