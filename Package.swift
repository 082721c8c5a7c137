// swift-tools-version: 6.2
// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The target list is the layer table of docs/ARCHITECTURE.md, lowest row first. A target imports
// only from rows below its own; Tests/TidyTests enforces it, since the package manager does not.
//
// MARTLET_CORE=1 leaves out the targets that reach the HTTP stack (and their packages), so that the
// core, the simulator, sanitizer runs and fuzzers build from clean in about a minute.
// MARTLET_FUZZ=1 adds the libFuzzer executables. MARTLET_TSAN=1 is for `make tsan`: Primitives.Lock
// on a mutex that the thread sanitizer knows.

import PackageDescription

let coreOnly = Context.environment["MARTLET_CORE"] == "1"
let withFuzzers = Context.environment["MARTLET_FUZZ"] == "1"
let withThreadSanitizer = Context.environment["MARTLET_TSAN"] == "1"

let strict: [SwiftSetting] = [
    .swiftLanguageMode(.v6),
    .treatAllWarnings(as: .error),
    .enableUpcomingFeature("ExistentialAny"),
    .enableUpcomingFeature("MemberImportVisibility"),
    .enableUpcomingFeature("InternalImportsByDefault"),
]
// Without it a generic call across modules costs 4 to 5 ns instead of 0.9 and a seam is never
// inlined.
let product: [SwiftSetting] =
    strict + [.unsafeFlags(["-cross-module-optimization"], .when(configuration: .release))]

func module(
    _ name: String, _ dependencies: [Target.Dependency] = [], _ settings: [SwiftSetting] = []
) -> Target {
    .target(name: name, dependencies: dependencies, swiftSettings: product + settings)
}

func tests(
    _ name: String, _ dependencies: [Target.Dependency] = [], exclude: [String] = []
) -> Target {
    .testTarget(
        name: name, dependencies: dependencies + ["TestSupport"], exclude: exclude,
        swiftSettings: strict)
}

func systemLibrary(_ name: String, _ pkgConfig: String, _ apt: String) -> Target {
    .systemLibrary(name: name, pkgConfig: pkgConfig, providers: [.apt([apt])])
}

// MARK: Row 0: primitives and system libraries

var targets: [Target] = [
    systemLibrary("CLZ4", "liblz4", "liblz4-dev"),
    systemLibrary("CZstd", "libzstd", "libzstd-dev"),
    systemLibrary("CXXHash", "libxxhash", "libxxhash-dev"),
    systemLibrary("CBLAKE3", "libblake3", "libblake3-dev"),
    systemLibrary("CZlib", "zlib", "zlib1g-dev"),
    .target(name: "CLinux"),
    module(
        "Primitives", ["CLZ4", "CZstd", "CXXHash", "CBLAKE3"],
        withThreadSanitizer ? [.define("MARTLET_TSAN")] : []),
]

// MARK: Row 1: vocabulary

targets += [
    module("BlockDevice", ["Primitives"]),
    module("Formats", ["Primitives"]),
]

// MARK: Row 2: seams to the world, and the pure protocol

targets += [
    module("HostIO", ["Primitives", "CLinux"]),
    module("ObjectStore", ["Primitives", "HostIO", "CLinux"]),
    module("Documents", ["Primitives", "Formats"]),
    module("NBDProtocol", ["Primitives", "BlockDevice"]),
]

// MARK: Row 3: local state

targets += [
    module("Shard", ["Primitives", "BlockDevice", "HostIO", "CLinux"]),
    module("Journal", ["Primitives", "Formats", "HostIO"]),
    module("CleanCache", ["Primitives"]),
]

// MARK: Row 4: engine

targets += [
    module("VolumeMap", ["Primitives", "Formats", "ObjectStore", "CleanCache"]),
    module(
        "Committer",
        ["Primitives", "Formats", "HostIO", "ObjectStore", "Journal", "CleanCache", "VolumeMap"]),
    module(
        "VolumeEngine",
        [
            "Primitives", "BlockDevice", "Formats", "Documents", "HostIO", "ObjectStore", "Journal",
            "CleanCache",
            "VolumeMap", "Committer",
        ]),
]

// MARK: Row 5: edges

targets += [
    module(
        "NBDServer", ["Primitives", "BlockDevice", "NBDProtocol", "Shard", "HostIO", "CLinux"])
]

// MARK: Row 6: control

targets += [
    module(
        "ControlPlane",
        [
            "Primitives", "Formats", "Documents", "HostIO", "ObjectStore", "Journal", "CleanCache",
            "VolumeMap", "Committer", "VolumeEngine",
        ])
]

targets += [
    module(
        "Maintenance",
        [
            "Primitives", "Formats", "Documents", "ObjectStore", "VolumeMap", "Committer",
            "ControlPlane",
        ])
]

targets += [
    module(
        "ImageTools",
        [
            "Primitives", "Formats", "Documents", "HostIO", "ObjectStore", "Shard", "Journal",
            "CleanCache", "VolumeMap", "Committer", "ControlPlane", "CZlib", "CZstd",
        ])
]

targets += [
    module(
        "Simulator",
        [
            "Primitives", "BlockDevice", "Formats", "Documents", "HostIO", "ObjectStore", "Journal",
            "CleanCache", "VolumeMap", "Committer", "VolumeEngine", "ControlPlane",
            "Maintenance",
        ]),
    .executableTarget(
        name: "martlet-sim", dependencies: ["Simulator", "Shard", "HostIO", "Primitives"],
        swiftSettings: product),
]

// MARK: Rows 7 and 8: composition and executables

var packages: [Package.Dependency] = []
if !coreOnly {
    packages += [
        .package(url: "https://github.com/apple/swift-argument-parser", from: "1.8.2"),
        .package(url: "https://github.com/apple/swift-crypto", from: "4.5.2"),
        .package(url: "https://github.com/apple/swift-http-types", from: "1.0.0"),
        .package(url: "https://github.com/apple/swift-log", from: "1.16.2"),
        .package(url: "https://github.com/apple/swift-nio", from: "2.101.2"),
        .package(url: "https://github.com/apple/swift-nio-ssl", from: "2.37.6"),
        .package(url: "https://github.com/hummingbird-project/hummingbird", from: "2.28.1"),
        .package(url: "https://github.com/swift-server/async-http-client", from: "1.37.0"),
        .package(url: "https://github.com/swift-server/swift-service-lifecycle", from: "2.13.0"),
        .package(url: "https://github.com/LebJe/TOMLKit", from: "0.6.0"),
    ]
    targets += [
        module(
            "ObjectStoreCloud",
            [
                "Primitives", "HostIO", "ObjectStore",
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "Crypto", package: "swift-crypto"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
                .product(name: "NIOPosix", package: "swift-nio"),
                .product(name: "NIOSSL", package: "swift-nio-ssl"),
            ]),
        module(
            "AdminAPI",
            [
                "Primitives", "Documents", "ControlPlane",
                .product(name: "HTTPTypes", package: "swift-http-types"),
                .product(name: "Hummingbird", package: "hummingbird"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "ServiceLifecycle", package: "swift-service-lifecycle"),
            ]),
        module(
            "Daemon",
            [
                "Primitives", "BlockDevice", "Formats", "Documents", "HostIO", "ObjectStore",
                "NBDProtocol", "Shard", "Journal", "CleanCache", "VolumeMap", "Committer",
                "VolumeEngine", "NBDServer", "ControlPlane", "Maintenance", "ImageTools",
                "AdminAPI",
                "ObjectStoreCloud", "CLinux",
                .product(name: "TOMLKit", package: "TOMLKit"),
                .product(name: "Logging", package: "swift-log"),
                .product(name: "UnixSignals", package: "swift-service-lifecycle"),
            ]),
        .executableTarget(
            name: "martlet",
            dependencies: [
                "Primitives", "Formats", "Documents", "HostIO", "ObjectStore", "ControlPlane",
                "Maintenance", "ImageTools", "AdminAPI", "Daemon",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "AsyncHTTPClient", package: "async-http-client"),
                .product(name: "NIOCore", package: "swift-nio"),
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ],
            swiftSettings: product),
    ]
}

// MARK: Tests

targets += [
    .target(
        name: "TestSupport", dependencies: ["Primitives"], path: "Tests/TestSupport",
        swiftSettings: strict),
    .target(
        name: "StoreConformance", dependencies: ["ObjectStore", "Primitives", "TestSupport"],
        path: "Tests/StoreConformance", swiftSettings: strict),
    .target(
        name: "RepositorySupport",
        dependencies: [
            "ControlPlane", "VolumeEngine", "Committer", "VolumeMap", "Journal", "HostIO",
            "ObjectStore", "Documents", "Formats", "CleanCache", "BlockDevice", "Primitives",
        ],
        path: "Tests/RepositorySupport", swiftSettings: strict),
    tests("TidyTests"),
    tests("PrimitivesTests", ["Primitives"]),
    tests("FormatsTests", ["Formats", "Documents", "Primitives"], exclude: ["Goldens"]),
    tests("HostIOTests", ["HostIO", "Primitives", "CLinux"]),
    tests("ObjectStoreTests", ["StoreConformance", "ObjectStore", "HostIO", "Primitives"]),
    tests("NBDProtocolTests", ["NBDProtocol", "BlockDevice", "Primitives"]),
    tests("ShardTests", ["Shard", "HostIO", "BlockDevice", "Primitives", "CLinux"]),
    tests("JournalTests", ["Journal", "HostIO", "Formats", "Primitives"]),
    tests("CleanCacheTests", ["CleanCache", "Primitives"]),
    tests(
        "VolumeMapTests",
        ["VolumeMap", "Formats", "ObjectStore", "CleanCache", "Shard", "Primitives"]),
    tests(
        "CommitterTests",
        [
            "Committer", "VolumeMap", "Journal", "HostIO", "ObjectStore", "Formats", "CleanCache",
            "Primitives",
        ]),
    tests(
        "VolumeEngineTests",
        [
            "VolumeEngine", "Committer", "VolumeMap", "Journal", "HostIO", "ObjectStore", "Formats",
            "CleanCache", "BlockDevice", "Primitives",
        ]),
    tests(
        "NBDServerTests",
        ["NBDServer", "NBDProtocol", "Shard", "BlockDevice", "HostIO", "Primitives", "CLinux"]),
    tests(
        "ControlPlaneTests",
        [
            "ControlPlane", "VolumeEngine", "Committer", "VolumeMap", "Journal", "HostIO",
            "ObjectStore",
            "Documents", "Formats", "CleanCache", "BlockDevice", "Primitives",
        ]),
]
targets += [
    tests("SimulatorTests", ["Simulator", "martlet-sim", "Primitives"]),
    tests(
        "MaintenanceTests",
        [
            "Maintenance", "ImageTools", "ControlPlane", "VolumeEngine", "Committer", "VolumeMap",
            "Journal", "HostIO", "ObjectStore", "Documents", "Formats", "CleanCache", "BlockDevice",
            "Shard", "Primitives", "RepositorySupport",
        ]),
    tests(
        "ImageToolsTests",
        [
            "ImageTools", "Maintenance", "ControlPlane", "Committer", "VolumeMap", "HostIO",
            "ObjectStore", "Documents", "Formats", "CleanCache", "Shard", "Primitives",
            "RepositorySupport",
        ]),
]
if !coreOnly {
    targets += [
        tests(
            "ObjectStoreCloudTests",
            [
                "ObjectStoreCloud", "StoreConformance", "ObjectStore", "HostIO", "Primitives",
                .product(name: "NIOHTTP1", package: "swift-nio"),
            ], exclude: ["Vectors"]),
        tests(
            "DaemonTests",
            [
                "Daemon", "AdminAPI", "ControlPlane", "Documents", "Formats", "HostIO",
                "ObjectStore", "ObjectStoreCloud", "Journal", "CleanCache", "VolumeEngine", "Shard",
                "Maintenance", "Primitives", "CLinux", "martlet",
                .product(name: "ArgumentParser", package: "swift-argument-parser"),
                .product(name: "Logging", package: "swift-log"),
            ]),
    ]
}

// MARK: Fuzzers

// -parse-as-library: libFuzzer brings `main`, the target's file only exports its entry.
func fuzzer(_ name: String, _ dependencies: [Target.Dependency]) -> Target {
    .executableTarget(
        name: name, dependencies: dependencies + ["FuzzSupport", "Primitives"],
        path: "Fuzz/\(name)", swiftSettings: strict + [.unsafeFlags(["-parse-as-library"])])
}

if withFuzzers {
    targets += [
        .target(name: "FuzzSupport", path: "Fuzz/FuzzSupport", swiftSettings: strict),
        fuzzer("FuzzBlockDiff", ["Formats", "HostIO", "ImageTools"]),
        fuzzer("FuzzCanary", ["Formats"]),
        fuzzer("FuzzCommit", ["Formats"]),
        fuzzer("FuzzDocuments", ["Documents"]),
        fuzzer("FuzzFrame", ["Formats"]),
        fuzzer("FuzzNBD", ["BlockDevice", "CLinux", "NBDProtocol", "NBDServer", "Shard"]),
        fuzzer("FuzzJournal", ["Formats"]),
        fuzzer("FuzzNode", ["Formats"]),
        fuzzer("FuzzPackIndex", ["Formats"]),
        fuzzer("FuzzPages", ["Formats"]),
        fuzzer("FuzzQcow2", ["ImageTools", "HostIO"]),
    ]
}

let package = Package(name: "martlet", dependencies: packages, targets: targets)
