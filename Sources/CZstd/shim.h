// SPDX-License-Identifier: Apache-2.0
// SPDX-FileCopyrightText: 2026 The Martlet authors
//
// The headers of the system library for zstd, as the module CZstd.

#pragma once
#include <zstd.h>
