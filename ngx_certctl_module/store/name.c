
/* Names of records and hosts, and the paths of their files. */


#include "store/store_impl.h"
#include "record.h"

#include <stdio.h>
#include <string.h>


static int
lower(int c)
{
    return c >= 'A' && c <= 'Z' ? c | 0x20 : c;
}


static int
is_dots(const char *name, size_t len)
{
    return len <= 2 && strncmp(name, "..", len) == 0;
}


int
certctl_name_valid(const u_char *text, size_t len)
{
    return certctl_record_valid((const char *) text, len);
}


/* Addresses have colons, which names of records may not have. */

int
certctl_host_key(const char *name, char key[CERTCTL_NAME_SIZE])
{
    size_t  i;

    for (i = 0; name[i]; i++) {
        if (i == CERTCTL_NAME_SIZE - 1
            || (name[i] != ':' && !certctl_record_char(name[i])))
        {
            return 0;
        }

        key[i] = lower(name[i]);
    }

    key[i] = '\0';

    return !is_dots(key, i);
}


/* FNV-1a, folded to 256 folders; the letter case of a name does not count. */

unsigned
certctl_path_hash(const char *name)
{
    uint32_t  h = 2166136261u;

    while (*name) {
        h = (h ^ (u_char) lower(*name++)) * 16777619u;
    }

    h ^= h >> 16;

    return (h ^ h >> 8) & 0xff;
}


void
certctl_path(char path[CERTCTL_PATH_SIZE], const char *name, char mark)
{
    char  before[2] = { 0, 0 }, after[2] = { 0, 0 };

    *(mark == CERTCTL_MARK_PREV ? after : before) = mark;

    (void) snprintf(path, CERTCTL_PATH_SIZE, "%02x/%s%.253s%s",
                    certctl_path_hash(name), before, name, after);
}
