// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The headers of the system library for LZ4, as the module CLZ4.

#pragma once
#include <lz4.h>
#include <lz4hc.h>
