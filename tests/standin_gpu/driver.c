/* libcuda.so.1, a stand-in for NVIDIA's driver: devices that have memory (the host's) and compute nothing.
 *
 *   STANDIN_GPU_COUNT    how many devices there are (1)
 *   STANDIN_GPU_MEMORY   bytes of each (80 GiB); memory is taken from the host when it is written to
 *   STANDIN_GPU_DRIVER   version of the driver (13000: CUDA 13.0)
 *   STANDIN_GPU_LOG      file for the counters, see driver.h
 *   STANDIN_GPU_DEAD     "N" or "N:K": device N fails, from its K-th kernel on
 *   STANDIN_GPU_PAUSE    microseconds that a kernel takes (0)
 */
#define _GNU_SOURCE
#include "driver.h"

#include <errno.h>
#include <fcntl.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <unistd.h>

static uint64_t setting(const char *name, uint64_t otherwise) {
    const char *value = getenv(name);
    return value && *value ? strtoull(value, NULL, 10) : otherwise;
}

/* Devices */

static __thread int current;

static int version(void) { return (int)setting("STANDIN_GPU_DRIVER", CUDA_VERSION); }

static int count(void) {
    uint64_t n = setting("STANDIN_GPU_COUNT", 1);
    return n < MOST_DEVICES ? (int)n : MOST_DEVICES;
}

static uint64_t capacity(void) { return setting("STANDIN_GPU_MEMORY", (uint64_t)80 << 30); }

static int state(void) {
    if (version() < CUDA_VERSION) return DRIVER_TOO_OLD;
    return count() > 0 ? OK : NO_DEVICE;
}

static int get_device(void) { return current; }

static int set_device(int device) {
    if (device < 0 || device >= count()) return NO_SUCH_DEVICE;
    current = device;
    return OK;
}

/* Counters, in the file if there is one */

static struct counters *counted;

static void open_log(void) {
    static struct counters unlogged[MOST_DEVICES];
    const char *path = getenv("STANDIN_GPU_LOG");
    counted = unlogged;
    if (!path || !*path) return;
    int file = open(path, O_RDWR | O_CREAT | O_TRUNC, 0644);
    void *mapped = MAP_FAILED;
    if (file >= 0 && ftruncate(file, sizeof unlogged) == 0)
        mapped = mmap(NULL, sizeof unlogged, PROT_READ | PROT_WRITE, MAP_SHARED, file, 0);
    if (mapped == MAP_FAILED) {
        fprintf(stderr, "stand-in GPU: STANDIN_GPU_LOG=%s: %s\n", path, strerror(errno));
        abort();
    }
    close(file);
    counted = mapped;
}

static struct counters *counters_of(int device) {
    static pthread_once_t once = PTHREAD_ONCE_INIT;
    pthread_once(&once, open_log);
    return &counted[device];
}

static struct counters *counters(void) { return counters_of(current); }

static void add(uint64_t *counter, uint64_t n) { __atomic_fetch_add(counter, n, __ATOMIC_RELAXED); }

/* Work */

static int alive(void) {
    const char *dead = getenv("STANDIN_GPU_DEAD");
    if (!dead || !*dead) return OK;
    char *rest;
    long device = strtol(dead, &rest, 10);
    uint64_t from = *rest == ':' ? strtoull(rest + 1, NULL, 10) : 0;
    struct counters *c = counters();
    return device == current && c->launches + c->products >= from ? LAUNCH_FAILED : OK;
}

static int work(int is_product, uint64_t flop) {
    if (alive() != OK) return LAUNCH_FAILED;
    struct counters *c = counters();
    add(is_product ? &c->products : &c->launches, 1);
    add(&c->product_flop, flop);
    uint64_t pause = setting("STANDIN_GPU_PAUSE", 0);
    if (pause) usleep((useconds_t)pause);
    return OK;
}

/* Memory. All of it is the host's; what is said to be on a device is counted against the device's. It is zero when
 * it is got, so that results are the same in every run. */

struct piece {
    struct piece *next;
    char *address;
    size_t bytes;
    enum place place;
    int device;
};

static struct piece *pieces;
static pthread_mutex_t lock = PTHREAD_MUTEX_INITIALIZER;

enum { GRANULE = 512 };

/* The piece that an address lies in; the lock must be held. */
static struct piece **find(const void *address) {
    struct piece **p = &pieces;
    while (*p && !((char *)address >= (*p)->address && (char *)address < (*p)->address + (*p)->bytes)) p = &(*p)->next;
    return p;
}

static int allocate(void **address, size_t bytes, enum place place) {
    *address = NULL;
    if (bytes == 0) return OK;
    bytes = (bytes + GRANULE - 1) / GRANULE * GRANULE;
    struct counters *c = counters();
    int error = OUT_OF_MEMORY;
    pthread_mutex_lock(&lock);
    if (place != ON_DEVICE || c->memory + bytes <= capacity()) {
        struct piece *p = malloc(sizeof *p);
        void *memory = mmap(NULL, bytes, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0);
        if (p && memory != MAP_FAILED) {
            *p = (struct piece){pieces, memory, bytes, place, current};
            pieces = p;
            *address = memory;
            error = OK;
        } else {
            free(p);
        }
    }
    if (place == ON_DEVICE && error == OK) {
        c->memory += bytes;
        if (c->memory > c->peak) c->peak = c->memory;
        add(&c->allocations, 1);
    } else if (place == ON_DEVICE) {
        add(&c->refusals, 1);
    }
    pthread_mutex_unlock(&lock);
    return error;
}

static int release(void *address) {
    if (!address) return OK;
    pthread_mutex_lock(&lock);
    struct piece **p = find(address), *found = *p;
    if (found && found->address == address) {
        *p = found->next;
        if (found->place == ON_DEVICE) counters_of(found->device)->memory -= found->bytes;
        munmap(found->address, found->bytes);
    }
    pthread_mutex_unlock(&lock);
    if (!found || found->address != address) return INVALID_VALUE;
    free(found);
    return OK;
}

static enum place place(const void *address, int *device) {
    pthread_mutex_lock(&lock);
    struct piece *p = *find(address);
    enum place is = p ? p->place : PAGEABLE;
    if (device) *device = p ? p->device : current;
    pthread_mutex_unlock(&lock);
    return is;
}

/* A copy is counted where the calling thread's device is. Directions are told by the addresses: those that a program
 * names may be "find out yourself". The host gets zeros: no kernel has written there, so what the memory holds is
 * whatever was copied to it before, such as an address, whose halves as fp32 are now and then not numbers. */
static int copy(void *to, const void *from, size_t bytes) {
    if (alive() != OK) return LAUNCH_FAILED;
    struct counters *c = counters();
    int to_device = place(to, NULL) == ON_DEVICE, from_device = place(from, NULL) == ON_DEVICE;
    if (to_device || from_device) {
        add(!from_device ? &c->to_device : !to_device ? &c->to_host : &c->on_device, 1);
        add(!from_device ? &c->to_device_bytes : !to_device ? &c->to_host_bytes : &c->on_device_bytes, bytes);
    }
    if (from_device && !to_device)
        memset(to, 0, bytes);
    else
        memmove(to, from, bytes);
    return OK;
}

const struct driver *standin_driver(void) {
    static const struct driver driver = {
        state, version, count, capacity, get_device, set_device, counters, work, alive, allocate, release, place, copy,
    };
    return &driver;
}

/* The driver's own functions: what a program asks before it loads anything else. Contexts are device numbers plus one. */

static __thread struct {
    int depth;
    uintptr_t contexts[8];
} stack;

int cuInit(unsigned flags) {
    (void)flags;
    return count() > 0 ? OK : NO_DEVICE;
}

int cuDriverGetVersion(int *v) {
    *v = version();
    return OK;
}

int cuDeviceGetCount(int *n) {
    *n = count();
    return OK;
}

int cuDeviceGet(int *device, int number) {
    *device = number;
    return number >= 0 && number < count() ? OK : NO_SUCH_DEVICE;
}

int cuDeviceGetName(char *name, int size, int device) {
    snprintf(name, (size_t)size, "Stand-in H100");
    return device >= 0 && device < count() ? OK : NO_SUCH_DEVICE;
}

int cuDeviceTotalMem_v2(size_t *bytes, int device) {
    *bytes = capacity();
    return device >= 0 && device < count() ? OK : NO_SUCH_DEVICE;
}

/* Numbers of attributes: cudaDevAttr… in the CUDA Runtime API, Data types, which are CU_DEVICE_ATTRIBUTE_…'s. Values
 * are an H100's, as its documentation gives them. */
int cuDeviceGetAttribute(int *value, int attribute, int device) {
    if (device < 0 || device >= count()) return NO_SUCH_DEVICE;
    switch (attribute) {
    case 1: *value = 1024; break;       /* threads of a block */
    case 2: case 3: *value = 1024; break; /* a block's width, height */
    case 4: *value = 64; break;         /* and depth */
    case 5: *value = INT32_MAX; break;  /* a grid's width */
    case 6: case 7: *value = 65535; break;
    case 8: *value = 49152; break;      /* shared memory of a block */
    case 10: *value = 32; break;        /* threads of a warp */
    case 12: *value = 65536; break;     /* registers of a block */
    case 16: *value = 132; break;       /* multiprocessors */
    case 31: *value = 1; break;         /* kernels side by side */
    case 38: *value = 52428800; break;  /* second-level cache */
    case 39: *value = 2048; break;      /* threads of a multiprocessor */
    case 75: *value = 9; break;         /* compute capability 9.0 */
    case 76: *value = 0; break;
    case 81: *value = 233472; break;    /* shared memory of a multiprocessor */
    case 82: *value = 65536; break;     /* registers of a multiprocessor */
    case 95: *value = 1; break;         /* cooperative kernels */
    case 97: *value = 232448; break;    /* shared memory of a block that asks for more */
    case 106: *value = 32; break;       /* blocks of a multiprocessor */
    case 111: *value = 1024; break;     /* shared memory of a block that CUDA keeps */
    case 115: *value = 1; break;        /* pools of memory */
    default: *value = 0;
    }
    return OK;
}

int cuDevicePrimaryCtxRetain(void **context, int device) {
    if (state() != OK) return state();
    *context = (void *)(uintptr_t)(device + 1);
    return device >= 0 && device < count() ? OK : NO_SUCH_DEVICE;
}

int cuDevicePrimaryCtxRelease_v2(int device) { return device >= 0 && device < count() ? OK : NO_SUCH_DEVICE; }

int cuCtxPushCurrent_v2(void *context) {
    if (!context || stack.depth == sizeof stack.contexts / sizeof *stack.contexts) return INVALID_VALUE;
    stack.contexts[stack.depth++] = (uintptr_t)current + 1;
    return set_device((int)(uintptr_t)context - 1);
}

int cuCtxPopCurrent_v2(void **context) {
    if (stack.depth == 0) return INVALID_VALUE;
    if (context) *context = (void *)(uintptr_t)(current + 1);
    return set_device((int)stack.contexts[--stack.depth] - 1);
}

int cuMemGetInfo_v2(size_t *available, size_t *total) {
    *total = capacity();
    *available = capacity() - counters()->memory;
    return OK;
}

int cuGetErrorName(int error, const char **name) {
    *name = error == OK ? "CUDA_SUCCESS" : error == NO_DEVICE ? "CUDA_ERROR_NO_DEVICE" : "CUDA_ERROR";
    return OK;
}

int cuGetErrorString(int error, const char **text) {
    *text = error == OK ? "no error" : error == NO_DEVICE ? "no CUDA-capable device is detected" : "a stand-in's error";
    return OK;
}
