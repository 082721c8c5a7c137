// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// Placeholder so that the target builds; replaced by the first test of the module.
