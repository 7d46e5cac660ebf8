
/* How much the store holds, for its metrics. */


#include "store/store_impl.h"

#include <dirent.h>
#include <fcntl.h>
#include <unistd.h>


static uint64_t
bytes_in(int fd)
{
    DIR            *dir;
    uint64_t        bytes = 0;
    struct stat     st;
    struct dirent  *entry;

    dir = fdopendir(fd);

    if (dir == NULL) {
        close(fd);
        return 0;
    }

    while ((entry = readdir(dir)) != NULL) {
        if (fstatat(dirfd(dir), entry->d_name, &st, AT_SYMLINK_NOFOLLOW) == 0
            && S_ISREG(st.st_mode))
        {
            bytes += st.st_size;
        }
    }

    closedir(dir);

    return bytes;
}


/* Room after room: in folders by hash, or the files themselves. */

uint64_t
certctl_store_bytes(certctl_store_t *store)
{
    const int  hashed[] = { store->certs, store->pending, store->staples };
    const int  flat[] = { store->damaged, store->sessions };
    int        fd;
    size_t     i, n;
    uint64_t   bytes = 0;

    for (i = 0; i < sizeof(hashed) / sizeof(hashed[0]); i++) {

        for (n = 0; hashed[i] >= 0 && n < CERTCTL_FOLDERS; n++) {
            fd = certctl_folder_number(hashed[i], n);
            bytes += fd < 0 ? 0 : bytes_in(fd);
        }
    }

    for (i = 0; i < sizeof(flat) / sizeof(flat[0]); i++) {
        fd = flat[i] < 0 ? -1
             : openat(flat[i], ".", O_RDONLY|O_DIRECTORY|O_CLOEXEC);
        bytes += fd < 0 ? 0 : bytes_in(fd);
    }

    return bytes;
}
