/* SPDX-License-Identifier: BSD-3-Clause */
/* Error codes of the contract and of libstack's edges: functions return 0 or -CV_E...; errno itself
 * exists only in shim/. */
#ifndef CULVERT_API_ERROR_H
#define CULVERT_API_ERROR_H

enum cv_error {
	CV_OK = 0,
#define X(name) CV_##name,
#include "error.def"
#undef X
	CV_ERROR_COUNT
};

#endif
