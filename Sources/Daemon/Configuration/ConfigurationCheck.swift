// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The rules that one key alone cannot check: addresses, URLs, and how settings fit one another.

private import AdminAPI
private import Maintenance
private import ObjectStoreCloud
internal import Primitives

extension Configuration {
    /// Refuses, by name, what cannot work together or cannot be understood.
    func check() throws(UserError) {
        if case .s3(let location) = try StoreLocation(parsing: storage.url) {
            try S3Store.check(location, settings: s3Settings)
        }
        guard !cache.dir.isEmpty else {
            throw Self.refusal("cache.dir is empty", remedy: "name a folder")
        }
        try checkEndpoints()
        _ = try Retention(parsing: policy.retain)
        guard gc.everySecs == 0 || !storage.readonly else {
            throw Self.refusal(
                "gc.every_secs is \(gc.everySecs), and storage.readonly is set",
                remedy: "leave one of them out: garbage is collected by hosts that may write")
        }
        guard commit.maxUnpublishedSecs == 0 || commit.maxUnpublishedSecs >= commit.maxAgeSecs
        else {
            throw Self.refusal(
                "commit.max_unpublished_secs (\(commit.maxUnpublishedSecs)) is less than "
                    + "commit.max_age_secs (\(commit.maxAgeSecs)): writers would always stall",
                remedy: "raise it to several times max_age_secs, or set 0")
        }
        guard Double(commit.maxJournalMB) * 1_048_576 <= cache.diskSizeGB * 1e9 else {
            throw Self.refusal(
                "commit.max_journal_mb (\(commit.maxJournalMB)) is more than cache.disk_size_gb "
                    + "(\(SettingValue.decimal(cache.diskSizeGB).literal))",
                remedy: "raise the disk budget or lower max_journal_mb")
        }
        var names: Set<String> = []
        for export in exports {
            try export.check()
            guard names.insert(export.name).inserted else {
                throw Self.refusal(
                    "exports has the name \(export.name) twice", remedy: "remove one of them")
            }
        }
    }

    private func checkEndpoints() throws(UserError) {
        for text in nbd.addresses where Endpoint(parsing: text) == nil {
            throw Self.refusal(
                "servers.nbd.addresses has \"\(text)\"", remedy: "give HOST:PORT or unix:PATH")
        }
        if !nbd.apiAddress.isEmpty {
            guard case .tcp = Endpoint(parsing: nbd.apiAddress) else {
                throw Self.refusal(
                    "servers.nbd.api_address is \"\(nbd.apiAddress)\"", remedy: "give HOST:PORT")
            }
        }
        for (name, path) in [("unix_socket", nbd.unixSocket), ("api_socket", nbd.apiSocket)]
        where path.utf8.count > Endpoint.unixPathBytesMax {
            throw Self.refusal(
                "servers.nbd.\(name) has \(path.utf8.count) bytes",
                remedy: "choose a path of at most \(Endpoint.unixPathBytesMax) bytes")
        }
        let all = nbdEndpoints + apiEndpoints
        let fixed = all.filter { if case .tcp(_, 0) = $0 { false } else { true } }
        guard Set(fixed).count == fixed.count else {
            throw Self.refusal(
                "two listeners of [servers.nbd] have one address",
                remedy: "give each its own address")
        }
    }

    static func refusal(_ why: String, remedy: String) -> UserError {
        UserError(.badRequest, what: "cannot use the configuration", why: why, remedy: remedy)
    }
}

extension ExportSetting {
    func check() throws(UserError) {
        guard ExportName.isValid(name) else {
            throw Configuration.refusal(
                "exports has the name \"\(name)\"", remedy: ExportName.rule)
        }
        guard sizeGB == 0 || sizeBytes == 0 else {
            throw Configuration.refusal(
                "export \(name) has both size_gb and size_bytes", remedy: "keep one of them")
        }
        guard bytes > 0 || !from.isEmpty else {
            throw Configuration.refusal(
                "export \(name) has no size", remedy: "add size_gb, or from to fork")
        }
        guard bytes.isMultiple(of: 512) else {
            throw Configuration.refusal(
                "export \(name) has \(bytes) bytes, not a multiple of 512",
                remedy: "give a multiple of 512")
        }
        guard blockSize.nonzeroBitCount == 1 else {
            throw Configuration.refusal(
                "export \(name) has the block_size \(blockSize), not a power of two",
                remedy: "give a power of two from 4096 to 1048576")
        }
    }
}
