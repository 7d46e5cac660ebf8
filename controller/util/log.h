/* One line per event on standard error: time, level, fields, message. */
#pragma once
#include <stdbool.h>

enum log_level { LOG_ERROR, LOG_WARN, LOG_NOTICE, LOG_INFO, LOG_DEBUG };

bool log_set_level(const char *name);

/* log_event(LOG_NOTICE, "job=job-7", "issued %s", fp): context is "k=v k=v" or "". */
void log_event(enum log_level level, const char *context, const char *fmt, ...)
    __attribute__((format(printf, 3, 4)));
