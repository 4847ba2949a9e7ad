// The driver, devices, contexts.
#include "fake.h"
#include <stdio.h>
#include <string.h>
#include <unistd.h>

Context contexts[MAX_DEVICES];

CUresult cuInit(unsigned int flags) {
    ENTER("cuInit", NOTHING, flags);
    if (initialized_by && initialized_by != getpid()) RETURN(CUDA_ERROR_NOT_INITIALIZED);
    if (!settings.count) RETURN(CUDA_ERROR_NO_DEVICE);
    initialized_by = getpid();
    RETURN(0);
}

CUresult cuDriverGetVersion(int *version) {
    ENTER("cuDriverGetVersion", NOTHING);
    *version = settings.version;
    RETURN(0);
}

CUresult cuDeviceGetCount(int *count) {
    ENTER("cuDeviceGetCount", INIT);
    *count = settings.count;
    RETURN(0);
}

CUresult cuDeviceGet(CUdevice *device, int ordinal) {
    ENTER("cuDeviceGet", INIT, ordinal);
    if (ordinal < 0 || ordinal >= settings.count) RETURN(CUDA_ERROR_INVALID_DEVICE);
    *device = ordinal;
    RETURN(0);
}

#define CHECK_DEVICE(device) \
    if ((device) < 0 || (device) >= settings.count) RETURN(CUDA_ERROR_INVALID_DEVICE)

CUresult cuDeviceGetName(char *name, int length, CUdevice device) {
    ENTER("cuDeviceGetName", INIT, device);
    CHECK_DEVICE(device);
    snprintf(name, length, "Fake GPU %d", device);
    RETURN(0);
}

CUresult cuDeviceGetUuid_v2(CUuuid *uuid, CUdevice device) {
    ENTER("cuDeviceGetUuid", INIT, device);
    CHECK_DEVICE(device);
    memset(uuid->bytes, 0, 16);
    uuid->bytes[15] = (char)(device + 1);
    RETURN(0);
}

CUresult cuDeviceTotalMem_v2(size_t *bytes, CUdevice device) {
    ENTER("cuDeviceTotalMem", INIT, device);
    CHECK_DEVICE(device);
    *bytes = settings.memory;
    RETURN(0);
}

static int attribute(CUdevice_attribute which) {  // an H100's, where the test depends on none
    switch (which) {
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MAJOR: return settings.arch / 10;
    case CU_DEVICE_ATTRIBUTE_COMPUTE_CAPABILITY_MINOR: return settings.arch % 10;
    case CU_DEVICE_ATTRIBUTE_MULTIPROCESSOR_COUNT: return 132;
    case CU_DEVICE_ATTRIBUTE_WARP_SIZE: return 32;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_BLOCK: return 1024;
    case CU_DEVICE_ATTRIBUTE_MAX_THREADS_PER_MULTIPROCESSOR: return 2048;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_MULTIPROCESSOR: return 65536;
    case CU_DEVICE_ATTRIBUTE_MAX_REGISTERS_PER_BLOCK: return 65536;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK: return 49152;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_BLOCK_OPTIN: return 232448;
    case CU_DEVICE_ATTRIBUTE_MAX_SHARED_MEMORY_PER_MULTIPROCESSOR: return 233472;
    case CU_DEVICE_ATTRIBUTE_RESERVED_SHARED_MEMORY_PER_BLOCK: return 1024;
    case CU_DEVICE_ATTRIBUTE_L2_CACHE_SIZE: return 52428800;
    case CU_DEVICE_ATTRIBUTE_CLOCK_RATE: return 1980000;
    case CU_DEVICE_ATTRIBUTE_MEMORY_CLOCK_RATE: return 2619000;
    case CU_DEVICE_ATTRIBUTE_GLOBAL_MEMORY_BUS_WIDTH: return 5120;
    case CU_DEVICE_ATTRIBUTE_ASYNC_ENGINE_COUNT: return 3;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_X: return 2147483647;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Y: return 65535;
    case CU_DEVICE_ATTRIBUTE_MAX_GRID_DIM_Z: return 65535;
    case CU_DEVICE_ATTRIBUTE_UNIFIED_ADDRESSING: return 1;
    case CU_DEVICE_ATTRIBUTE_CONCURRENT_KERNELS: return 1;
    case CU_DEVICE_ATTRIBUTE_MEMORY_POOLS_SUPPORTED: return 1;
    case CU_DEVICE_ATTRIBUTE_PAGEABLE_MEMORY_ACCESS: return settings.pageable;
    case CU_DEVICE_ATTRIBUTE_TENSOR_MAP_ACCESS_SUPPORTED: return settings.arch >= 90;
    default: return 0;
    }
}

CUresult cuDeviceGetAttribute(int *value, CUdevice_attribute which, CUdevice device) {
    ENTER("cuDeviceGetAttribute", INIT, which, device);
    CHECK_DEVICE(device);
    *value = attribute(which);
    RETURN(0);
}

CUresult cuDeviceCanAccessPeer(int *yes, CUdevice device, CUdevice peer) {
    ENTER("cuDeviceCanAccessPeer", INIT, device, peer);
    CHECK_DEVICE(device);
    CHECK_DEVICE(peer);
    *yes = device != peer;
    RETURN(0);
}

CUresult cuDevicePrimaryCtxRetain(CUcontext *context, CUdevice device) {
    ENTER("cuDevicePrimaryCtxRetain", INIT, device);
    CHECK_DEVICE(device);
    Context *c = &contexts[device];
    if (!c->handle) {
        c->device = device;
        c->handle = add_object(CONTEXT, c);
        c->legacy = new_stream(c, true, 0);
        c->per_thread = new_stream(c, true, 0);
    }
    c->retained++;
    *context = (CUcontext)c->handle;
    GIVE(c->handle);
    RETURN(0);
}

CUresult cuDevicePrimaryCtxRelease_v2(CUdevice device) {
    ENTER("cuDevicePrimaryCtxRelease", INIT, device);
    CHECK_DEVICE(device);
    if (!contexts[device].retained) RETURN(CUDA_ERROR_INVALID_CONTEXT);
    contexts[device].retained--;
    RETURN(0);
}

CUresult cuDevicePrimaryCtxGetState(CUdevice device, unsigned int *flags, int *active) {
    ENTER("cuDevicePrimaryCtxGetState", INIT, device);
    CHECK_DEVICE(device);
    *flags = 0;
    *active = contexts[device].retained > 0;
    RETURN(0);
}

CUresult cuCtxSetCurrent(CUcontext context) {
    ENTER("cuCtxSetCurrent", INIT, U(context));
    Context *c = context ? find_object(CONTEXT, U(context)) : NULL;
    if (context && !c) RETURN(CUDA_ERROR_INVALID_CONTEXT);
    current = c;
    RETURN(0);
}

CUresult cuCtxGetCurrent(CUcontext *context) {
    ENTER("cuCtxGetCurrent", INIT);
    *context = (CUcontext)(current ? current->handle : 0);
    RETURN(0);
}

CUresult cuCtxGetDevice(CUdevice *device) {
    ENTER("cuCtxGetDevice", CURRENT);
    *device = current->device;
    RETURN(0);
}

CUresult cuCtxGetStreamPriorityRange(int *least, int *greatest) {
    ENTER("cuCtxGetStreamPriorityRange", CURRENT);
    if (least) *least = 0;
    if (greatest) *greatest = -5;
    RETURN(0);
}

CUresult cuCtxSynchronize(void) {
    ENTER("cuCtxSynchronize", CURRENT);
    Capture *c = capture_in(current, false);
    if (c) RETURN(refuse_capture(c));
    run_all(current);
    RETURN(sticky);
}

CUresult cuProfilerStart(void) {
    ENTER("cuProfilerStart", CURRENT);
    RETURN(0);
}

CUresult cuProfilerStop(void) {
    ENTER("cuProfilerStop", CURRENT);
    RETURN(0);
}

CUresult cuMemGetInfo_v2(size_t *free, size_t *total) {
    ENTER("cuMemGetInfo", CURRENT);
    uint64_t live = bytes_live[current->device];
    *free = live < settings.memory ? settings.memory - live : 0;
    *total = settings.memory;
    RETURN(0);
}
