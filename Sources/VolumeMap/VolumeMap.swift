// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The module VolumeMap; see docs/ARCHITECTURE.md.

enum VolumeMapModule {}
