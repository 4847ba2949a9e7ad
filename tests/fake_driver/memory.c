// Device and pinned memory; copies.
#include "fake.h"
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

uint64_t bytes_live[MAX_DEVICES], bytes_peak[MAX_DEVICES], hosts_live, blocks_live;

// Blocks of a device in order of address. Addresses are never used twice.
typedef struct { uint64_t address, size; uint8_t *data; bool live, freed; Graph *owner; } Block;
static struct { Block *blocks; size_t count, room, dead; uint64_t next; } heaps[MAX_DEVICES];

enum { ALIGN = 512, BIG = 1 << 20 };
static const uint64_t BASE = 0x200000000000ull;  // where no process on Linux has anything

static int device_of(uint64_t address) {
    uint64_t d = (address - BASE) >> 40;
    return address >= BASE && d < MAX_DEVICES ? (int)d : -1;
}

static Block *find_block(uint64_t address) {
    int d = device_of(address);
    if (d < 0) return NULL;
    size_t low = 0, high = heaps[d].count;
    while (low < high) {
        size_t mid = (low + high) / 2;
        if (heaps[d].blocks[mid].address <= address) low = mid + 1; else high = mid;
    }
    if (!low) return NULL;
    Block *b = &heaps[d].blocks[low - 1];
    return b->live && address < b->address + b->size ? b : NULL;
}

void *backing(uint64_t address, uint64_t size, const char *what) {
    Block *b = find_block(address);
    if (!b || address + size > b->address + b->size) {
        violation("%s touches %llu bytes at 0x%llx, which is not allocated", what,
                  (unsigned long long)size, (unsigned long long)address);
        return NULL;
    }
    return b->data + (address - b->address);
}

CUresult allocate(uint64_t *address, uint64_t size, int device, Graph *owner) {
    if (!size) return CUDA_ERROR_INVALID_VALUE;
    if (bytes_live[device] + size > settings.memory) run_everything();  // frees that are queued
    if (bytes_live[device] + size > settings.memory) return CUDA_ERROR_OUT_OF_MEMORY;
    uint8_t *data = size > BIG ? mmap(NULL, size, PROT_READ | PROT_WRITE,
                                      MAP_PRIVATE | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0)
                               : malloc(size);
    if (!data || data == MAP_FAILED) return CUDA_ERROR_OUT_OF_MEMORY;
    if (size <= BIG) memset(data, 0xA5, size);
    if (heaps[device].count == heaps[device].room) {
        heaps[device].room = heaps[device].room ? 2 * heaps[device].room : 256;
        heaps[device].blocks = realloc(heaps[device].blocks, heaps[device].room * sizeof(Block));
    }
    if (!heaps[device].next) heaps[device].next = BASE + ((uint64_t)device << 40) + ALIGN;
    *address = heaps[device].next;
    heaps[device].next += (size + 2 * ALIGN - 1) / ALIGN * ALIGN;
    heaps[device].blocks[heaps[device].count++] = (Block){*address, size, data, true, false, owner};
    bytes_live[device] += size;
    if (bytes_live[device] > bytes_peak[device]) bytes_peak[device] = bytes_live[device];
    blocks_live++;
    return 0;
}

void release(uint64_t address) {
    Block *b = find_block(address);
    if (!b) return;
    int d = device_of(address);
    if (b->size > BIG) munmap(b->data, b->size); else free(b->data);
    b->live = false;
    bytes_live[d] -= b->size;
    blocks_live--;
    if (++heaps[d].dead * 2 > heaps[d].count && heaps[d].count > 1024) {
        size_t kept = 0;
        for (size_t i = 0; i < heaps[d].count; i++)
            if (heaps[d].blocks[i].live) heaps[d].blocks[kept++] = heaps[d].blocks[i];
        heaps[d].count = kept;
        heaps[d].dead = 0;
    }
}

// ---- allocation ---------------------------------------------------------------------------------

CUresult cuMemAlloc_v2(CUdeviceptr *address, size_t size) {
    ENTER("cuMemAlloc", CURRENT, size);
    CUresult refused = unsafe_call();
    if (refused) RETURN(refused);
    uint64_t made = 0;
    CUresult code = allocate(&made, size, current->device, NULL);
    *address = made;
    GIVE(made);
    RETURN(code);
}

CUresult cuMemFree_v2(CUdeviceptr address) {
    ENTER("cuMemFree", CURRENT, address);
    Block *b = find_block(address);
    if (!b || b->address != address || b->freed) RETURN(CUDA_ERROR_INVALID_VALUE);
    CUresult refused = unsafe_call();
    if (refused) RETURN(refused);
    run_everything();
    release(address);
    RETURN(sticky);
}

static CUresult alloc_async(Record *r, CUdeviceptr *address, size_t size, CUstream stream) {
    Stream *s = find_stream(stream);
    if (!s) return CUDA_ERROR_INVALID_HANDLE;
    if (s->capture && s->capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
    Graph *owner = s->capture ? s->capture->graph : NULL;
    uint64_t made = 0;
    CUresult code = allocate(&made, size, s->context->device, owner);
    if (code) return code;
    if (owner) {
        owner->owned = realloc(owner->owned, (owner->owned_count + 1) * sizeof made);
        owner->owned[owner->owned_count++] = made;
        r->graph = owner->handle;
    }
    *address = made;
    r->result = made;
    return 0;
}

CUresult cuMemAllocAsync(CUdeviceptr *address, size_t size, CUstream stream) {
    ENTER("cuMemAllocAsync", CURRENT, size, U(stream));
    RETURN(alloc_async(call_.record, address, size, stream));
}

CUresult cuMemAllocFromPoolAsync(CUdeviceptr *address, size_t size, CUmemoryPool pool,
                                 CUstream stream) {
    ENTER("cuMemAllocFromPoolAsync", CURRENT, size, U(pool), U(stream));
    if (!find_object(POOL, U(pool))) RETURN(CUDA_ERROR_INVALID_VALUE);
    RETURN(alloc_async(call_.record, address, size, stream));
}

CUresult cuMemFreeAsync(CUdeviceptr address, CUstream stream) {
    ENTER("cuMemFreeAsync", CURRENT, address, U(stream));
    Stream *s = find_stream(stream);
    if (!s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    Block *b = find_block(address);
    if (!b || b->address != address || b->freed) RETURN(CUDA_ERROR_INVALID_VALUE);
    if (s->capture) {  // a free node: of an allocation node of the same graph only
        if (b->owner != s->capture->graph) RETURN(CUDA_ERROR_INVALID_VALUE);
        call_.record->graph = b->owner->handle;
        RETURN(0);
    }
    b->freed = true;
    RETURN(push(s, (Op){.kind = FREE, .to = address}, call_.record));
}

static uint64_t pools[MAX_DEVICES], thresholds[MAX_DEVICES];

CUresult cuDeviceGetDefaultMemPool(CUmemoryPool *pool, CUdevice device) {
    ENTER("cuDeviceGetDefaultMemPool", INIT, device);
    if (device < 0 || device >= settings.count) RETURN(CUDA_ERROR_INVALID_DEVICE);
    if (!pools[device]) pools[device] = add_object(POOL, &pools[device]);
    *pool = (CUmemoryPool)pools[device];
    RETURN(0);
}

CUresult cuMemPoolTrimTo(CUmemoryPool pool, size_t keep) {
    ENTER("cuMemPoolTrimTo", INIT, U(pool), keep);
    RETURN(find_object(POOL, U(pool)) ? 0 : CUDA_ERROR_INVALID_VALUE);
}

CUresult cuMemPoolSetAttribute(CUmemoryPool pool, CUmemPool_attribute which, void *value) {
    ENTER("cuMemPoolSetAttribute", INIT, U(pool), which, value ? *(cuuint64_t *)value : 0);
    uint64_t *found = find_object(POOL, U(pool));
    if (!found || !value) RETURN(CUDA_ERROR_INVALID_VALUE);
    if (which == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD) thresholds[found - pools] = *(cuuint64_t *)value;
    RETURN(0);
}

CUresult cuMemPoolGetAttribute(CUmemoryPool pool, CUmemPool_attribute which, void *value) {
    ENTER("cuMemPoolGetAttribute", INIT, U(pool), which);
    uint64_t *found = find_object(POOL, U(pool));
    if (!found) RETURN(CUDA_ERROR_INVALID_VALUE);
    bool threshold = which == CU_MEMPOOL_ATTR_RELEASE_THRESHOLD;
    *(cuuint64_t *)value = threshold ? thresholds[found - pools] : bytes_live[found - pools];
    RETURN(0);
}

CUresult cuPointerGetAttribute(void *value, CUpointer_attribute which, CUdeviceptr address) {
    ENTER("cuPointerGetAttribute", INIT, which, address);
    if (!find_block(address)) RETURN(CUDA_ERROR_INVALID_VALUE);
    if (which == CU_POINTER_ATTRIBUTE_DEVICE_ORDINAL) *(int *)value = device_of(address);
    else if (which == CU_POINTER_ATTRIBUTE_MEMORY_TYPE) *(unsigned *)value = CU_MEMORYTYPE_DEVICE;
    else RETURN(CUDA_ERROR_NOT_SUPPORTED);
    RETURN(0);
}

// ---- pinned host memory -------------------------------------------------------------------------

typedef struct { uint8_t *data; uint64_t size; } Pinned;
static Pinned *pinned;
static size_t pinned_count;

bool is_pinned(const void *host, uint64_t size) {
    const uint8_t *p = host;
    for (size_t i = 0; i < pinned_count; i++)
        if (p >= pinned[i].data && p + size <= pinned[i].data + pinned[i].size) return true;
    return false;
}

CUresult cuMemHostAlloc(void **host, size_t size, unsigned int flags) {
    ENTER("cuMemHostAlloc", CURRENT, size, flags);
    CUresult refused = unsafe_call();
    if (refused) RETURN(refused);
    if (!size || posix_memalign(host, 4096, size)) RETURN(CUDA_ERROR_INVALID_VALUE);
    memset(*host, 0xA5, size);
    pinned = realloc(pinned, (pinned_count + 1) * sizeof *pinned);
    pinned[pinned_count++] = (Pinned){*host, size};
    hosts_live++;
    GIVE(*host);
    RETURN(0);
}

CUresult cuMemFreeHost(void *host) {
    ENTER("cuMemFreeHost", CURRENT, U(host));
    CUresult refused = unsafe_call();
    if (refused) RETURN(refused);
    for (size_t i = 0; i < pinned_count; i++) {
        if (pinned[i].data != host) continue;
        run_everything();
        pinned[i] = pinned[--pinned_count];
        free(host);
        hosts_live--;
        RETURN(sticky);
    }
    RETURN(CUDA_ERROR_INVALID_VALUE);
}

// ---- copies -------------------------------------------------------------------------------------

CUresult cuMemcpyHtoDAsync_v2(CUdeviceptr to, const void *from, size_t size, CUstream stream) {
    ENTER("cuMemcpyHtoDAsync", CURRENT, to, U(from), size, U(stream));
    Stream *s = find_stream(stream);
    if (!s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    Block *b = find_block(to);
    if (size && (!b || b->freed || to + size > b->address + b->size)) RETURN(CUDA_ERROR_INVALID_VALUE);
    bool pageable = !is_pinned(from, size), now = pageable && !settings.pageable;
    if (pageable && s->capture) RETURN(refuse_capture(s->capture));
    CUresult code = push(s, (Op){.kind = COPY_HD, .to = to, .from = U(from), .size = size}, call_.record);
    if (!code && now) run_to(s, s->end);
    RETURN(code);
}

CUresult cuMemcpyDtoHAsync_v2(void *to, CUdeviceptr from, size_t size, CUstream stream) {
    ENTER("cuMemcpyDtoHAsync", CURRENT, U(to), from, size, U(stream));
    Stream *s = find_stream(stream);
    if (!s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    Block *b = find_block(from);
    if (size && (!b || b->freed || from + size > b->address + b->size)) RETURN(CUDA_ERROR_INVALID_VALUE);
    if (s->capture && !is_pinned(to, size)) RETURN(refuse_capture(s->capture));
    // To pageable memory CUDA may wait or not: here it does not, so that nobody relies on it.
    RETURN(push(s, (Op){.kind = COPY_DH, .to = U(to), .from = from, .size = size}, call_.record));
}

static CUresult copy_between(Record *r, uint64_t to, uint64_t from, uint64_t size, CUstream stream) {
    Stream *s = find_stream(stream);
    if (!s) return CUDA_ERROR_INVALID_HANDLE;
    Block *a = find_block(to), *b = find_block(from);
    if (size && (!a || !b || a->freed || b->freed || to + size > a->address + a->size ||
                 from + size > b->address + b->size))
        return CUDA_ERROR_INVALID_VALUE;
    return push(s, (Op){.kind = COPY_DD, .to = to, .from = from, .size = size}, r);
}

CUresult cuMemcpyDtoDAsync_v2(CUdeviceptr to, CUdeviceptr from, size_t size, CUstream stream) {
    ENTER("cuMemcpyDtoDAsync", CURRENT, to, from, size, U(stream));
    if (device_of(to) != device_of(from)) RETURN(CUDA_ERROR_INVALID_VALUE);  // no peer access here
    RETURN(copy_between(call_.record, to, from, size, stream));
}

CUresult cuMemcpyPeerAsync(CUdeviceptr to, CUcontext to_context, CUdeviceptr from,
                           CUcontext from_context, size_t size, CUstream stream) {
    ENTER("cuMemcpyPeerAsync", CURRENT, to, U(to_context), from, U(from_context), size, U(stream));
    Context *a = find_object(CONTEXT, U(to_context)), *b = find_object(CONTEXT, U(from_context));
    if (!a || !b || device_of(to) != a->device || device_of(from) != b->device)
        RETURN(CUDA_ERROR_INVALID_VALUE);
    RETURN(copy_between(call_.record, to, from, size, stream));
}

CUresult cuMemsetD8Async(CUdeviceptr to, unsigned char byte, size_t size, CUstream stream) {
    ENTER("cuMemsetD8Async", CURRENT, to, byte, size, U(stream));
    Stream *s = find_stream(stream);
    if (!s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    Block *b = find_block(to);
    if (size && (!b || b->freed || to + size > b->address + b->size)) RETURN(CUDA_ERROR_INVALID_VALUE);
    RETURN(push(s, (Op){.kind = FILL, .to = to, .size = size, .byte = byte}, call_.record));
}
