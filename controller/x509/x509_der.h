/*
 * A strict walk over DER (X.690), for this room: what is not in its shortest
 * form is no value. In a header, as a walk takes hundreds of small steps.
 */
#pragma once
#include <stdbool.h>
#include <stddef.h>
#include <string.h>
#include <time.h>

#define TAG_BOOLEAN      0x01
#define TAG_INTEGER      0x02
#define TAG_BIT_STRING   0x03
#define TAG_OCTETS       0x04
#define TAG_OID          0x06
#define TAG_ENUMERATED   0x0a
#define TAG_UTC          0x17
#define TAG_GENERALIZED  0x18
#define TAG_SEQUENCE     0x30
#define TAG_IMPLICIT(n)  (0x80 | (n))       /* [n] of a simple type */
#define TAG_CONTEXT(n)   (0xa0 | (n))       /* [n] of others */
#define TAG_ANY          0

/* What is still to be read. */
struct der {
    const unsigned char  *p;
    const unsigned char  *end;
};


static inline size_t
der_left(const struct der *in)
{
    return in->end - in->p;
}


/* Takes the next value of in, which must have this tag, and steps behind it. */
static inline bool
der_take(struct der *in, unsigned tag, struct der *ret)
{
    const unsigned char  *p = in->p;
    size_t                n, len;

    if (der_left(in) < 2 || (tag != TAG_ANY && *p != tag)
        || (*p & 0x1f) == 0x1f)
    {
        return false;
    }

    len = p[1];
    p += 2;

    if (len & 0x80) {
        n = len & 0x7f;

        /* the shortest form of a definite length (X.690 10.1) */
        if (n == 0 || n > 3 || n > (size_t) (in->end - p) || *p == 0) {
            return false;
        }

        for (len = 0; n > 0; n--) {
            len = len << 8 | *p++;
        }

        if (len < 0x80) {
            return false;
        }
    }

    if (len > (size_t) (in->end - p)) {
        return false;
    }

    *ret = (struct der) { p, p + len };
    in->p = p + len;

    return true;
}


/* The same with its tag and length. */
static inline bool
der_take_whole(struct der *in, unsigned tag, struct der *ret)
{
    const unsigned char  *start = in->p;

    if (!der_take(in, tag, ret)) {
        return false;
    }

    ret->p = start;

    return true;
}


/* Whether all that is left is just this. */
static inline bool
der_is(const struct der *in, const void *data, size_t len)
{
    return der_left(in) == len && memcmp(in->p, data, len) == 0;
}


static inline bool
der_next_is(const struct der *in, unsigned tag)
{
    return der_left(in) > 0 && *in->p == tag;
}


static inline bool
der_skip(struct der *in, unsigned tag)
{
    struct der  ignored;

    return der_take(in, tag, &ignored);
}


static inline bool
der_digits(const unsigned char **p, int n, int *ret)
{
    int  value = 0;

    while (n-- > 0) {
        if (**p < '0' || **p > '9') {
            return false;
        }

        value = value * 10 + (*(*p)++ - '0');
    }

    *ret = value;

    return true;
}


/* Days from 1970-01-01 to the first of a month, by the Gregorian calendar. */
static inline long
der_days_before(int year, int month)
{
    static const int  before[] = { 0, 31, 59, 90, 120, 151, 181, 212, 243,
                                   273, 304, 334 };
    long              y = year - 1;
    bool              leap;

    leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);

    return y * 365 + y / 4 - y / 100 + y / 400 - 719162 + before[month - 1]
           + (leap && month > 2);
}


/* YYMMDDHHMMSSZ or YYYYMMDDHHMMSSZ (RFC 5280 4.1.2.5); seconds since 1970. */
static inline bool
der_take_time(struct der *in, time_t *ret)
{
    int                   year, month, day, hour, minute, second;
    bool                  utc = der_next_is(in, TAG_UTC);
    struct der            value;
    const unsigned char  *p;

    if (!der_take(in, utc ? TAG_UTC : TAG_GENERALIZED, &value)
        || der_left(&value) != (utc ? 13 : 15) || value.end[-1] != 'Z')
    {
        return false;
    }

    p = value.p;

    if (!der_digits(&p, utc ? 2 : 4, &year) || !der_digits(&p, 2, &month)
        || !der_digits(&p, 2, &day) || !der_digits(&p, 2, &hour)
        || !der_digits(&p, 2, &minute) || !der_digits(&p, 2, &second))
    {
        return false;
    }

    year += utc ? (year < 50 ? 2000 : 1900) : 0;

    if (year < 1950 || month < 1 || month > 12 || day < 1
        || day > der_days_before(year + month / 12, month % 12 + 1)
                 - der_days_before(year, month)
        || hour > 23 || minute > 59 || second > 59)
    {
        return false;
    }

    *ret = (der_days_before(year, month) + day - 1) * 86400L + hour * 3600L
           + minute * 60L + second;

    return true;
}
