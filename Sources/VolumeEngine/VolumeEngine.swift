// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The module VolumeEngine; see docs/ARCHITECTURE.md.

enum VolumeEngineModule {}
