// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The module Formats; see docs/ARCHITECTURE.md.

enum FormatsModule {}
