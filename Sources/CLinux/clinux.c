// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// CLinux is header-only; this file gives the target something to compile.

#include "clinux_io.h"
