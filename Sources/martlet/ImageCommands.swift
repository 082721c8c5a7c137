// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// `martlet bless` and `martlet import`: an image becomes a base, or a volume. No daemon is needed.

import ArgumentParser
import Daemon
import Documents
import HostIO
import ImageTools
import Primitives

/// What both commands take.
struct ImageOptions: ParsableArguments {
    enum Format: String, CaseIterable, ExpressibleByArgument {
        case raw
        case qcow2

        var disk: DiskFormat {
            switch self {
            case .raw: .raw
            case .qcow2: .qcow2
            }
        }
    }

    @OptionGroup var settings: SettingOptions
    @Option(help: "raw or qcow2; by default the first bytes tell.") var format: Format?
    @Option(
        help: ArgumentHelp(
            "The backing file of a qcow2 image; again for the next one below. No file is opened "
                + "because an image names it.", valueName: "file"))
    var backing: [String] = []
    @Option(help: ArgumentHelp("Bytes of a block: 128K by default.", valueName: "size"))
    var blockSize: ByteSize?
    @Option(
        help: ArgumentHelp(
            "A base whose blocks are referred to instead of being stored again.",
            valueName: "base"))
    var dedupAgainst: String?
    @Option(help: "Threads that read and compress: one for each processor by default.")
    var threads: Int?
    @Flag(help: "Print JSON.") var json = false
    @Flag(name: .customLong("no-progress"), help: "Say nothing until the end.")
    var isSilent = false

    func validate() throws {
        guard (1...64).contains(threads ?? 1) else {
            throw ValidationError("from 1 to 64 threads")
        }
        guard let bytes = blockSize?.bytes else { return }
        let range = UInt64(Limits.blockBytesMin)...UInt64(Limits.blockBytesMax)
        guard bytes.nonzeroBitCount == 1, range.contains(bytes) else {
            throw ValidationError("a block size is a power of two from 4K to 1M")
        }
    }

    func name(_ text: String, _ what: String) throws(UserError) -> RefName {
        guard let name = RefName(text) else {
            throw UserError(
                .badRequest, what: "cannot \(what) \"\(text.prefix(140))\"",
                why: "it is not a valid name",
                remedy: "use 1 to \(Limits.nameCharactersMax) of A-Z a-z 0-9 . _ - and begin with "
                    + "a letter or a digit")
        }
        return name
    }

    func run(_ order: ImageOrder) throws {
        var order = order
        order.files += backing
        order.format = format?.disk
        order.threads = threads
        order.request.blockBytes = blockSize.map { Int($0.bytes) }
        order.request.base = try dedupAgainst.map { try name($0, "compare with") }
        let sources = try settings.sources(environment: Environment.all)
        let configuration = try ConfigurationLoader.load(sources)
        let meter = ProgressMeter(isSilent: isSilent)
        defer { meter.end() }
        Interrupts.catchFirst()
        let report = try ImageIngest.run(configuration, order) { progress, nanoseconds in
            meter.tell(progress.doneBytes, progress.totalBytes, 0, nanoseconds)
            return !Interrupts.wasCaught
        }
        meter.end()
        print(json ? report.json.text : report.lines.joined(separator: "\n"))
    }
}

struct BlessCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "bless", abstract: "Make a base image of a raw or qcow2 file.",
        discussion: """
            Forks of a base share its blocks. A bless that was broken off is repeated with the \
            same words and uploads what is missing; one that is finished changes nothing.
            """)

    @OptionGroup var options: ImageOptions
    @Option(help: ArgumentHelp("The image.", valueName: "file")) var image: String
    @Option(help: "The base's name.") var name: String
    @Option(
        name: .customLong("s3-prefix"),
        help: ArgumentHelp("Folder in the bucket, behind what the store's URL names."))
    var prefix: String?
    @Flag(help: "If the base exists with other content, make this its next version.")
    var replace = false

    func run() throws {
        var order = ImageOrder(
            image, .base(try options.name(name, "bless"), replaces: replace))
        order.prefix = prefix
        try options.run(order)
    }
}

struct ImportCommand: ParsableCommand {
    static let configuration = CommandConfiguration(
        commandName: "import", abstract: "Make a volume of a raw or qcow2 file.",
        discussion: """
            The export is there when the command ends; martlet open NAME makes a running daemon \
            serve it. One that was broken off is repeated with the same words and uploads what is \
            missing.
            """)

    @OptionGroup var options: ImageOptions
    @Argument(help: "The image.") var image: String
    @Argument(help: "The new export's name.") var name: String

    func run() throws {
        try options.run(ImageOrder(image, .export(try options.name(name, "import"))))
    }
}
