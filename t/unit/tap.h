/* TAP for unit tests in C, so that prove runs them beside the Perl ones. */
#pragma once
#include <stdio.h>
#include <string.h>

static int  tap_count, tap_failed;

/* ok(expression, "what it proves"); the name may be a format with arguments. */
#define ok(test, ...)                                                         \
    do {                                                                      \
        int  tap_ok_ = !!(test);                                              \
                                                                              \
        tap_failed += !tap_ok_;                                               \
        printf("%sok %d - ", tap_ok_ ? "" : "not ", ++tap_count);             \
        printf(__VA_ARGS__);                                                  \
        printf("\n");                                                         \
                                                                              \
        if (!tap_ok_) {                                                       \
            printf("# %s:%d: %s\n", __FILE__, __LINE__, #test);               \
        }                                                                     \
                                                                              \
        fflush(stdout);                                                       \
    } while (0)

/* Strings are equal; NULL is a value like another. */
#define is_str(got, want, ...)                                                \
    do {                                                                      \
        const char  *tap_got_ = (got), *tap_want_ = (want);                   \
        int          tap_is_ = tap_got_ && tap_want_                          \
                               ? strcmp(tap_got_, tap_want_) == 0             \
                               : tap_got_ == tap_want_;                       \
                                                                              \
        ok(tap_is_, __VA_ARGS__);                                             \
                                                                              \
        if (!tap_is_) {                                                       \
            printf("# got:  %s\n# want: %s\n", tap_got_ ? tap_got_ : "NULL",  \
                   tap_want_ ? tap_want_ : "NULL");                           \
        }                                                                     \
    } while (0)

#define is_int(got, want, ...)                                                \
    do {                                                                      \
        long long  tap_got_ = (got), tap_want_ = (want);                      \
                                                                              \
        ok(tap_got_ == tap_want_, __VA_ARGS__);                               \
                                                                              \
        if (tap_got_ != tap_want_) {                                          \
            printf("# got: %lld, want: %lld\n", tap_got_, tap_want_);         \
        }                                                                     \
    } while (0)

/* return done_testing(); at the end of main. */
#define done_testing()  (printf("1..%d\n", tap_count), tap_failed != 0)
