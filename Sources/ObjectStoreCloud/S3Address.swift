// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Where a bucket's requests go: scheme, host, port and path, in path style or with the bucket in
// the host's name, for Amazon's regions and for endpoints of others.

import Primitives

struct S3Address: Equatable, Sendable {
    static let defaultRegion = "us-east-1"

    let bucket: String
    let isTLS: Bool
    let authority: Authority
    let usesPathStyle: Bool
    /// Signatures are made for it.
    let region: String
    /// Nobody named the region, so that the store may correct it.
    let isRegionGuessed: Bool
    /// Amazon's own: the host's name depends on the region.
    let isAmazon: Bool

    init(bucket: String, settings: S3Settings) throws(UserError) {
        let named = settings.namedRegion
        let region = named ?? Self.defaultRegion
        guard region.utf8.allSatisfy({ URIText.isUnreserved($0) }) else {
            throw UserError(
                .badRequest, what: "cannot use the region \(region)", why: "that is no region",
                remedy: "correct storage.region, for example to \"eu-central-1\"")
        }
        if settings.endpoint.isEmpty {
            self.init(
                amazon: bucket, region: region, isGuessed: named == nil, settings.usesPathStyle)
            return
        }
        let parts = settings.endpoint.split(separator: "://", maxSplits: 1)
        var place = parts.count == 2 ? parts[1] : ""
        if place.hasSuffix("/") { place = place.dropLast() }
        let scheme = parts.first.map { $0.lowercased() } ?? ""
        guard scheme == "http" || scheme == "https",
            let authority = Authority(
                parsing: String(place), defaultPort: scheme == "https" ? 443 : 80)
        else {
            throw UserError(
                .badRequest, what: "cannot use the endpoint \(settings.endpoint)",
                why: "that is no address of a service",
                remedy: "give https://HOST or http://HOST:PORT, without a path")
        }
        self.init(
            bucket: bucket, isTLS: scheme == "https", authority: authority,
            usesPathStyle: settings.usesPathStyle || authority.isAddress
                || bucket.contains("."),
            region: region, isRegionGuessed: named == nil, isAmazon: false)
    }

    private init(amazon bucket: String, region: String, isGuessed: Bool, _ usesPathStyle: Bool) {
        let domain = region.hasPrefix("cn-") ? "amazonaws.com.cn" : "amazonaws.com"
        guard let authority = Authority(parsing: "s3.\(region).\(domain)", defaultPort: 443) else {
            preconditionFailure("a region is a part of a host's name")
        }
        self.init(
            bucket: bucket, isTLS: true, authority: authority,
            // Certificates for *.s3.REGION do not cover another dot.
            usesPathStyle: usesPathStyle || bucket.contains("."), region: region,
            isRegionGuessed: isGuessed, isAmazon: true)
    }

    private init(
        bucket: String, isTLS: Bool, authority: Authority, usesPathStyle: Bool, region: String,
        isRegionGuessed: Bool, isAmazon: Bool
    ) {
        self.bucket = bucket
        self.isTLS = isTLS
        self.authority = authority
        self.usesPathStyle = usesPathStyle
        self.region = region
        self.isRegionGuessed = isRegionGuessed
        self.isAmazon = isAmazon
    }

    /// The same bucket in the region that the store named.
    func moved(to region: String) -> S3Address? {
        guard region.utf8.allSatisfy(URIText.isUnreserved), !region.isEmpty else { return nil }
        if isAmazon {
            return S3Address(amazon: bucket, region: region, isGuessed: false, usesPathStyle)
        }
        return S3Address(
            bucket: bucket, isTLS: isTLS, authority: authority, usesPathStyle: usesPathStyle,
            region: region, isRegionGuessed: false, isAmazon: false)
    }

    /// Who is connected to, without a port.
    var host: String {
        usesPathStyle ? authority.urlHost : "\(bucket).\(authority.urlHost)"
    }

    /// The Host header: with a port only if it is not the scheme's.
    var hostHeader: String {
        authority.port == (isTLS ? 443 : 80) ? host : "\(host):\(authority.port)"
    }

    var endpoint: String { (isTLS ? "https://" : "http://") + hostHeader }

    /// The encoded path of an object, or of the bucket itself.
    func path(_ key: String?) -> String {
        let object = key.map { URIText.encode($0, keepsSlash: true) } ?? ""
        guard usesPathStyle else { return "/" + object }
        return "/\(bucket)" + (key == nil ? "" : "/" + object)
    }
}
