
/* How much the store holds, for its metrics. */


#include "store/store_impl.h"

#include <fcntl.h>


static int
add_size(int folder, const char *base, void *data)
{
    uint64_t     *bytes = data;
    struct stat   st;

    if (fstatat(folder, base, &st, AT_SYMLINK_NOFOLLOW) == 0
        && S_ISREG(st.st_mode))
    {
        *bytes += st.st_size;
    }

    return 0;
}


uint64_t
certctl_store_bytes(certctl_store_t *store)
{
    const int  hashed[] = { store->certs, store->pending, store->staples };
    const int  flat[] = { store->damaged, store->sessions };
    size_t     i, n;
    uint64_t   bytes = 0;

    for (i = 0; i < sizeof(hashed) / sizeof(hashed[0]); i++) {

        for (n = 0; hashed[i] >= 0 && n < CERTCTL_FOLDERS; n++) {
            (void) certctl_folder_each(certctl_folder_number(hashed[i], n),
                                       add_size, &bytes);
        }
    }

    for (i = 0; i < sizeof(flat) / sizeof(flat[0]); i++) {
        (void) certctl_folder_each(certctl_folder_again(flat[i]), add_size,
                                   &bytes);
    }

    return bytes;
}
