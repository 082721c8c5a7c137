// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Asks the sources in their order and keeps what it got: refreshed before it ends, by one thread
// while the others go on with what is still valid.

import Primitives
import Synchronization

final class CredentialChain: Sendable {
    /// Seconds before the end at which new credentials are asked for.
    static let marginSeconds: UInt64 = 300
    /// Seconds after a failed refresh before the next try, while the old ones are valid.
    static let pauseSeconds: UInt64 = 20

    private struct State {
        var current: Credentials?
        /// No source has any: requests go out unsigned.
        var isAnonymous = false
        /// Wall seconds before which a refresh is not tried again.
        var notBefore: UInt64 = 0
    }

    private let sources: [any CredentialSource]
    private let allowsAnonymous: Bool
    private let clock: any Clock
    private let state = Lock(State())
    /// Held by the thread that asks the sources.
    private let asking = Lock(())
    /// Relaxed: it spares a wait, and guards nothing.
    private let isRenewing = Atomic<Bool>(false)

    /// `allowsAnonymous`: without any credentials requests go out unsigned.
    init(sources: [any CredentialSource], allowsAnonymous: Bool, clock: any Clock) {
        self.sources = sources
        self.allowsAnonymous = allowsAnonymous
        self.clock = clock
    }

    /// The sources that the settings leave. Named ones go before those that are found.
    static func sources(_ settings: S3Settings) -> [any CredentialSource] {
        if settings.isAnonymous { return [] }
        let profile = ProfileCredentials(
            profile: settings.profile, environment: settings.environment)
        var sources: [any CredentialSource] = [FixedCredentials.configured(settings)]
        if settings.profile.isEmpty {
            sources.append(FixedCredentials.environment(settings.environment))
        }
        return sources + [profile, InstanceMetadata(environment: settings.environment)]
    }

    /// What to sign with now; nil for unsigned requests.
    func current() throws(CredentialError) -> Credentials? {
        let now = clock.wallSeconds
        let (known, isAnonymous, notBefore) = state.withLock {
            ($0.current, $0.isAnonymous, $0.notBefore)
        }
        if isAnonymous { return nil }
        guard let known else { return try refresh(replacing: nil) }
        guard let expires = known.expiresSeconds, now + Self.marginSeconds >= expires else {
            return known
        }
        if now < expires {
            // Still valid: whoever finds somebody asking goes on with them.
            guard now >= notBefore else { return known }
            let isAlone = isRenewing.compareExchange(
                expected: false, desired: true, ordering: .relaxed
            ).exchanged
            guard isAlone else { return known }
            defer { isRenewing.store(false, ordering: .relaxed) }
            return (try? refresh(replacing: known)) ?? known
        }
        return try refresh(replacing: known)
    }

    /// Credentials that the store refused: the sources are asked again. False if they give the
    /// same.
    func replace(_ refused: Credentials?) -> Bool {
        guard let refused, let fresh = try? refresh(replacing: refused) else { return false }
        return fresh.accessKeyID != refused.accessKeyID
            || fresh.secretAccessKey != refused.secretAccessKey
            || fresh.sessionToken != refused.sessionToken
    }

    private func refresh(replacing old: Credentials?) throws(CredentialError) -> Credentials? {
        try asking.withLock { _ throws(CredentialError) -> Credentials? in
            let (current, isAnonymous) = state.withLock { ($0.current, $0.isAnonymous) }
            // Somebody else was here meanwhile.
            if isAnonymous || current != nil && current != old { return current }
            return try ask(replacing: old)
        }
    }

    /// With `asking` held.
    private func ask(replacing old: Credentials?) throws(CredentialError) -> Credentials? {
        do throws(CredentialError) {
            for source in sources {
                guard let found = try source.load() else { continue }
                state.withLock { $0.current = found }
                return found
            }
        } catch {
            postpone()
            throw error
        }
        if let old {
            postpone()
            throw CredentialError(
                why: "no source has \(old) any more", remedy: "see where they came from",
                isAway: true)
        }
        guard allowsAnonymous else {
            throw CredentialError(
                why: "no credentials in the configuration, the environment, the shared files or "
                    + "the instance's metadata",
                remedy: "set aws.access_key_id and aws.secret_access_key, or AWS_PROFILE, or "
                    + "aws.anonymous = true for a public bucket")
        }
        state.withLock { $0.isAnonymous = true }
        return nil
    }

    private func postpone() {
        let next = clock.wallSeconds + Self.pauseSeconds
        state.withLock { $0.notBefore = next }
    }
}
