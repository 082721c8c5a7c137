// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// How settings are read: sources over one another, and every refusal by name.

import Primitives
import Testing

@testable import Daemon

/// Loads from a file's text.
func load(
    _ text: String = "", environment: [String: String] = [:],
    flags: ConfigurationSources.Flags = .init()
) throws(UserError) -> Configuration {
    var sources = ConfigurationSources()
    sources.file = ("martlet.toml", text)
    sources.environment = environment
    sources.flags = flags
    return try ConfigurationLoader.load(sources)
}

/// The refusal of a file's text, as shown; nil if it is taken.
func refusal(
    of text: String = "", environment: [String: String] = [:],
    flags: ConfigurationSources.Flags = .init()
) -> String? {
    do throws(UserError) {
        _ = try load(text, environment: environment, flags: flags)
        return nil
    } catch {
        return error.kind == .badRequest ? error.description : "kind \(error.kind)"
    }
}

@Suite("configuration sources")
struct ConfigurationSourceTests {
    @Test("without sources everything is under ./martlet-data and listens locally")
    func defaults() throws {
        let configuration = try ConfigurationLoader.load(ConfigurationSources())
        #expect(configuration == Configuration())
        #expect(configuration.storage.url == "file://./martlet-data/store")
        #expect(configuration.cache.dir == "./martlet-data/cache")
        #expect(
            configuration.nbdEndpoints
                == [
                    .unix(path: "./martlet-data/run/nbd.sock"),
                    .tcp(host: "127.0.0.1", port: 10809),
                ])
        #expect(
            configuration.apiEndpoints
                == [
                    .unix(path: "./martlet-data/run/api.sock"), .tcp(host: "127.0.0.1", port: 8080),
                ])
    }

    @Test("a flag wins over a variable, a variable over the file, the file over the default")
    func precedence() throws {
        let file = "[cache]\ndir = \"/file\"\n[commit]\nmax_age_secs = 5\nzstd_level = 7"
        let variables = ["MARTLET_CACHE_DIR": "/variable", "MARTLET_COMMIT_MAX_AGE_SECS": "6"]
        var flags = ConfigurationSources.Flags()
        flags.cache = "/flag"
        let all = try load(file, environment: variables, flags: flags)
        #expect(all.cache.dir == "/flag")
        #expect(all.commit.maxAgeSecs == 6)
        #expect(all.commit.zstdLevel == 7)
        #expect(try load(file, environment: variables).cache.dir == "/variable")
        #expect(try load(file).cache.dir == "/file")
    }

    @Test("addresses on the command line replace all listeners of their kind")
    func listeners() throws {
        var flags = ConfigurationSources.Flags()
        flags.nbd = ["127.0.0.1:0", "unix:/tmp/a.sock", "unix:/tmp/b.sock"]
        flags.api = ["unix:/tmp/api.sock"]
        let configuration = try load(flags: flags)
        #expect(
            configuration.nbdEndpoints
                == [
                    .tcp(host: "127.0.0.1", port: 0), .unix(path: "/tmp/a.sock"),
                    .unix(path: "/tmp/b.sock"),
                ])
        #expect(configuration.apiEndpoints == [.unix(path: "/tmp/api.sock")])
    }

    @Test("$NAME, ${NAME} and $$ are replaced in strings of the file")
    func expansion() throws {
        let text = """
            [cache]
            dir = "$HOME/x/${USER}_$$5"
            [servers.nbd]
            addresses = ["$HOST:1"]
            """
        let variables = ["HOME": "/root", "USER": "me", "HOST": "localhost"]
        let configuration = try load(text, environment: variables)
        #expect(configuration.cache.dir == "/root/x/me_$5")
        #expect(configuration.nbd.addresses == ["localhost:1"])
    }

    @Test("the other name of dead_conn_timeout_secs is taken")
    func alias() throws {
        let configuration = try load("[servers.nbd]\nnbd_dead_conn_timeout = 9")
        #expect(configuration.nbd.deadConnTimeoutSecs == 9)
    }

    @Test("exports are read in order, sizes count 10^9 bytes")
    func exports() throws {
        let text = """
            [[exports]]
            name = "prod"
            size_gb = 500
            [[exports]]
            name = "fork"
            from = "export:prod"
            readonly = true
            transport = "none"
            block_size = 65536
            """
        let exports = try load(text).exports
        #expect(exports.map(\.name) == ["prod", "fork"])
        #expect(exports[0].bytes == 500_000_000_000)
        #expect(exports[1].from == "export:prod")
        #expect(exports[1].readonly)
        #expect(exports[1].transport == .none)
        #expect(exports[1].blockSize == 65536)
    }
}

@Suite("configuration refusals")
struct ConfigurationRefusalTests {
    @Test(
        "an unknown key is refused with the nearest known one",
        arguments: [
            ("[commit]\nmax_age_sec = 3", "commit.max_age_sec", "commit.max_age_secs"),
            ("[cache]\ndri = \"/x\"", "cache.dri", "cache.dir"),
            ("[cahce]\ndir = \"/x\"", "cahce.dir", "cache.dir"),
            ("[storage]\ncodec = \"lz4\"", "storage.codec", "commit.codec"),
            ("[servers]\nunix_socket = \"/x\"", "servers.unix_socket", "servers.nbd.unix_socket"),
            ("shutdown_secs = 3", "shutdown_secs", "policy.shutdown_secs"),
            ("[[exports]]\nname = \"a\"\nsize = 3", "size", "size_gb"),
            ("[[exports]]\nname = \"a\"\nsize_g = 3", "size_g", "size_gb"),
        ])
    func unknownKey(text: String, key: String, nearest: String) throws {
        let message = try #require(refusal(of: text))
        #expect(message.contains("unknown key \(key)"))
        #expect(message.contains("did you mean \(nearest)?"))
    }

    @Test("an unknown table is refused even if it is empty")
    func unknownTable() {
        #expect(refusal(of: "[comit]")?.contains("unknown key comit") == true)
        #expect(refusal(of: "[commit]") == nil)
        #expect(refusal(of: "[servers]") == nil)
    }

    @Test("an unknown variable of one of our tables is refused, others are not ours")
    func unknownVariable() {
        let message = refusal(environment: ["MARTLET_CACHE_DIRR": "/x"])
        #expect(message?.contains("unknown variable MARTLET_CACHE_DIRR") == true)
        #expect(message?.contains("did you mean MARTLET_CACHE_DIR?") == true)
        #expect(refusal(environment: ["MARTLET_API": "x", "MARTLETS": "y"]) == nil)
    }

    @Test("text that is not TOML is refused with its line")
    func notTOML() {
        #expect(refusal(of: "[cache]\ndir = ")?.contains("line 2") == true)
    }

    @Test(
        "a value of the wrong type or range is refused by name",
        arguments: [
            ("[commit]\nmax_age_secs = \"soon\"", "commit.max_age_secs is \"soon\""),
            ("[commit]\nmax_age_secs = 0", "commit.max_age_secs is 0"),
            ("[commit]\nmax_age_secs = 1.5", "commit.max_age_secs is 1.5"),
            ("[commit]\nmax_age_secs = 2020-01-01", "commit.max_age_secs is date"),
            ("[cache]\ndir = 3", "cache.dir is 3"),
            ("[cache]\ndir = \"\"", "cache.dir is empty"),
            ("[cache]\nmemory_size_gb = 0.1", "cache.memory_size_gb is 0.1"),
            ("[storage]\nmax_uploads = -1", "storage.max_uploads is -1"),
            ("[servers.nbd]\naddresses = \"x:1\"", "servers.nbd.addresses is \"x:1\""),
            ("[servers.nbd]\naddresses = [1]", "servers.nbd.addresses is array"),
            ("[servers.nbd]\naddresses = [\"nowhere\"]", "servers.nbd.addresses has \"nowhere\""),
            ("[servers.nbd]\napi_address = \"unix:/x\"", "servers.nbd.api_address is"),
            ("[commit]\ncodec = \"gzip\"", "commit.codec is \"gzip\""),
            ("[policy]\ncache_full = \"panic\"", "policy.cache_full is \"panic\""),
            ("[[exports]]\nname = 3", "exports.name is 3"),
            ("[[exports]]\nname = \"a/b\"\nsize_gb = 1", "exports has the name \"a/b\""),
            ("[[exports]]\nname = \"a\"", "export a has no size"),
            ("[[exports]]\nname = \"a\"\nsize_bytes = 1000", "not a multiple of 512"),
            ("[[exports]]\nname = \"a\"\nsize_gb = 1\nblock_size = 5000", "block_size 5000"),
            ("[[exports]]\nname = \"a\"\nsize_gb = 1\nsize_bytes = 512", "both size_gb and"),
        ])
    func wrongValue(text: String, why: String) throws {
        let message = try #require(refusal(of: text))
        #expect(message.contains(why), "\(message)")
    }

    @Test("the remedy of a wrong value says what is accepted")
    func remedy() {
        #expect(
            refusal(of: "[commit]\nzstd_level = 20")?.hasSuffix("give an integer from 1 to 19")
                == true)
        #expect(
            refusal(of: "[commit]\ncodec = \"x\"")?
                .hasSuffix("give \"lz4\" or \"zstd\" or \"none\"") == true)
    }

    @Test(
        "what is known but not built is refused by name",
        arguments: [
            ("[policy]\ndurability = \"peer\"", "policy.durability = \"peer\" is not built yet"),
            ("[policy]\ndurability = \"store\"", "policy.durability = \"store\" is not built yet"),
            ("[storage]\nurl = \"gs://b\"", "gs:// (Google Cloud Storage) is not built yet"),
            ("[storage]\nurl = \"az://b\"", "az:// (Azure) is not built yet"),
            ("[cache]\nssd_cache_size_gb = 5", "belongs to the SSD tier of the cache"),
            ("[azure]\naccess_key = \"x\"", "belongs to the az:// store"),
            ("[[exports]]\nname = \"a\"\nsize_gb = 1\ntransport = \"ublk\"", "not built yet"),
        ])
    func notBuilt(text: String, why: String) throws {
        let message = try #require(refusal(of: text))
        #expect(message.contains(why), "\(message)")
    }

    @Test("a retention that cannot be read is refused at the start, not by the collector")
    func retention() {
        #expect(refusal(of: "[policy]\nretain = \"7d\"")?.contains("10m:1h,1h:1d") == true)
        #expect(refusal(of: "[policy]\nretain = \"10m:1h,1h:1d,1d:30d\"") == nil)
    }

    @Test("a URL of no known kind is refused")
    func unknownURL() {
        #expect(refusal(of: "[storage]\nurl = \"/path\"")?.contains("no store URL") == true)
        #expect(refusal(of: "[storage]\nurl = \"file://\"")?.contains("no store URL") == true)
    }

    @Test("an undefined or malformed variable in a string is refused")
    func undefinedVariable() {
        #expect(
            refusal(of: "[cache]\ndir = \"$NOPE/x\"")?.contains("$NOPE, which is not set") == true)
        for text in ["$", "$/x", "${A", "${}", "$1"] {
            let message = refusal(of: "[cache]\ndir = \"\(text)\"", environment: ["A": "x"])
            #expect(message?.contains("names no variable") == true, "\(text)")
        }
    }

    @Test("settings that contradict one another are refused")
    func contradictions() {
        #expect(
            refusal(of: "[gc]\nevery_secs = 60\n[storage]\nreadonly = true")?
                .contains("hosts that may write") == true)
        #expect(
            refusal(of: "[commit]\nmax_age_secs = 30\nmax_unpublished_secs = 20")?
                .contains("would always stall") == true)
        #expect(
            refusal(of: "[cache]\ndisk_size_gb = 0.1\n[commit]\nmax_journal_mb = 200")?
                .contains("is more than cache.disk_size_gb") == true)
        #expect(
            refusal(of: "[servers.nbd]\naddresses = [\"127.0.0.1:8080\"]")?
                .contains("have one address") == true)
        #expect(
            refusal(of: "[[exports]]\nname=\"a\"\nsize_gb=1\n[[exports]]\nname=\"a\"\nsize_gb=1")?
                .contains("the name a twice") == true)
    }

    @Test("a bad flag is refused by its name")
    func badFlag() {
        var flags = ConfigurationSources.Flags()
        flags.nbd = ["nowhere"]
        #expect(refusal(flags: flags)?.contains("--nbd is nowhere") == true)
        flags = ConfigurationSources.Flags()
        flags.api = ["127.0.0.1:1", "127.0.0.1:2"]
        #expect(refusal(flags: flags)?.contains("--api is given twice") == true)
    }
}
