// Streams and events, and the doing of what was queued.
#include "fake.h"
#include <stdlib.h>
#include <string.h>
#include <time.h>

static Stream **streams;
static size_t stream_count;

Stream *new_stream(Context *c, bool blocking, int priority) {
    Stream *s = calloc(1, sizeof *s);
    *s = (Stream){.context = c, .blocking = blocking, .live = true, .priority = priority};
    streams = realloc(streams, (stream_count + 1) * sizeof *streams);
    return streams[stream_count++] = s;
}

Stream *find_stream(CUstream handle) {
    if (U(handle) <= 1) return current->legacy;
    return U(handle) == 2 ? current->per_thread : find_object(STREAM, U(handle));
}

// ---- doing work ---------------------------------------------------------------------------------

void run_op(Op *op) {
    if (sticky) return;
    void *to, *from;
    struct timespec now;
    switch (op->kind) {
    case COPY_HD:
        if ((to = backing(op->to, op->size, "a copy"))) memcpy(to, (void *)op->from, op->size);
        break;
    case COPY_DH:
        if ((from = backing(op->from, op->size, "a copy"))) memcpy((void *)op->to, from, op->size);
        break;
    case COPY_DD:
        to = backing(op->to, op->size, "a copy");
        from = backing(op->from, op->size, "a copy");
        if (to && from) memmove(to, from, op->size);
        break;
    case FILL:
        if ((to = backing(op->to, op->size, "a fill"))) memset(to, op->byte, op->size);
        break;
    case FREE:
        release(op->to);
        break;
    case SIGNAL:
        clock_gettime(CLOCK_MONOTONIC, &now);
        if (op->generation > op->event->done) op->event->done = op->generation;
        op->event->ms = now.tv_sec * 1e3 + now.tv_nsec * 1e-6;
        break;
    case WAIT:
        run_to(op->other, op->upto);
        break;
    case LAUNCH:
        launched(op->text);
        break;
    case REPLAY:
        for (size_t i = 0; i < op->graph->count; i++) run_op(&op->graph->nodes[i]);
        drop_graph(op->graph);
        break;
    }
}

void run_to(Stream *s, uint64_t upto) {
    while (s->first < upto && s->first < s->end) {
        Op op = s->queue[s->first - s->base];
        s->first++;
        run_op(&op);
    }
    if (s->first == s->end) s->base = s->first;
}

void run_all(Context *c) {
    for (size_t i = 0; i < stream_count; i++)
        if (streams[i]->context == c) run_to(streams[i], streams[i]->end);
}

void run_everything(void) {
    for (size_t i = 0; i < stream_count; i++) run_to(streams[i], streams[i]->end);
}

Capture *capture_in(Context *c, bool blocking_only) {
    for (size_t i = 0; i < stream_count; i++) {
        Stream *s = streams[i];
        if (s->context == c && s->capture && (s->blocking || !blocking_only)) return s->capture;
    }
    return NULL;
}

// The legacy default stream and the blocking ones wait for each other.
static CUresult order_with_legacy(Stream *s) {
    Context *c = s->context;
    if (s == c->legacy) {
        Capture *capture = capture_in(c, true);
        if (capture) { capture->invalid = true; return CUDA_ERROR_STREAM_CAPTURE_IMPLICIT; }
        for (size_t i = 0; i < stream_count; i++)
            if (streams[i]->context == c && streams[i]->blocking && streams[i] != s)
                run_to(streams[i], streams[i]->end);
    } else if (s->blocking) {
        run_to(c->legacy, c->legacy->end);
    }
    return 0;
}

CUresult push(Stream *s, Op op, Record *record) {
    if (s->capture) {
        if (s->capture->invalid) return CUDA_ERROR_STREAM_CAPTURE_INVALIDATED;
        record->graph = s->capture->graph->handle;
        add_node(s->capture->graph, op);
        s->unjoined = s != s->capture->origin;
        return 0;
    }
    CUresult code = order_with_legacy(s);
    if (code) return code;
    uint64_t used = s->end - s->base;
    if (used == s->room) {
        s->room = s->room ? 2 * s->room : 64;
        s->queue = realloc(s->queue, s->room * sizeof *s->queue);
    }
    s->queue[used] = op;
    s->end++;
    if (settings.eager) run_to(s, s->end);
    return 0;
}

// ---- streams ------------------------------------------------------------------------------------

CUresult cuStreamCreateWithPriority(CUstream *stream, unsigned int flags, int priority) {
    ENTER("cuStreamCreateWithPriority", CURRENT, flags, priority);
    if (flags > 1) RETURN(CUDA_ERROR_INVALID_VALUE);
    Stream *s = new_stream(current, !(flags & CU_STREAM_NON_BLOCKING), priority);
    s->handle = add_object(STREAM, s);
    *stream = (CUstream)s->handle;
    GIVE(s->handle);
    RETURN(0);
}

CUresult cuStreamDestroy_v2(CUstream stream) {
    ENTER("cuStreamDestroy", CURRENT, U(stream));
    Stream *s = find_object(STREAM, U(stream));
    if (!s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if (s->capture) RETURN(refuse_capture(s->capture));
    drop_object(s->handle);  // its work still ends: the queue stays
    s->live = false;
    RETURN(0);
}

CUresult cuStreamGetPriority(CUstream stream, int *priority) {
    ENTER("cuStreamGetPriority", CURRENT, U(stream));
    Stream *s = find_stream(stream);
    if (!s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    *priority = s->priority;
    RETURN(0);
}

CUresult cuStreamSynchronize(CUstream stream) {
    ENTER("cuStreamSynchronize", CURRENT, U(stream));
    Stream *s = find_stream(stream);
    if (!s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if (s->capture) RETURN(refuse_capture(s->capture));
    CUresult code = order_with_legacy(s);
    if (code) RETURN(code);
    run_to(s, s->end);
    RETURN(sticky);
}

CUresult cuStreamQuery(CUstream stream) {
    ENTER("cuStreamQuery", CURRENT, U(stream));
    Stream *s = find_stream(stream);
    if (!s) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if (s->capture) RETURN(refuse_capture(s->capture));
    if (s->first == s->end) RETURN(sticky);
    if (!settings.still) run_to(s, s->first + 1);  // seen pending once; later queries find it done
    RETURN(sticky ? sticky : CUDA_ERROR_NOT_READY);
}

CUresult cuStreamWaitEvent(CUstream stream, CUevent event, unsigned int flags) {
    ENTER("cuStreamWaitEvent", CURRENT, U(stream), U(event), flags);
    Stream *s = find_stream(stream);
    Event *e = find_object(EVENT, U(event));
    if (!s || !e) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if (e->capture) {  // recorded in a capture: this stream joins it
        if (s->capture && s->capture != e->capture) RETURN(CUDA_ERROR_STREAM_CAPTURE_MERGE);
        if (s == s->context->legacy) RETURN(CUDA_ERROR_STREAM_CAPTURE_IMPLICIT);
        if (e->capture->invalid) RETURN(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        s->capture = e->capture;
        call_.record->graph = e->capture->graph->handle;
        if (e->stream->unjoined && e->at == e->stream->end) e->stream->unjoined = false;
        if (s != s->capture->origin) s->unjoined = true;
        RETURN(0);
    }
    if (s->capture) {
        s->capture->invalid = true;
        RETURN(CUDA_ERROR_STREAM_CAPTURE_ISOLATION);
    }
    if (!e->stream) RETURN(0);  // never recorded: nothing to wait for
    RETURN(push(s, (Op){.kind = WAIT, .other = e->stream, .upto = e->at}, call_.record));
}

// ---- events -------------------------------------------------------------------------------------

CUresult cuEventCreate(CUevent *event, unsigned int flags) {
    ENTER("cuEventCreate", CURRENT, flags);
    Event *e = calloc(1, sizeof *e);
    e->context = current;
    e->flags = flags;
    e->handle = add_object(EVENT, e);
    *event = (CUevent)e->handle;
    GIVE(e->handle);
    RETURN(0);
}

CUresult cuEventDestroy_v2(CUevent event) {
    ENTER("cuEventDestroy", INIT, U(event));
    Event *e = find_object(EVENT, U(event));
    if (!e) RETURN(CUDA_ERROR_INVALID_HANDLE);
    drop_object(e->handle);  // the memory stays: queues may hold it
    RETURN(0);
}

CUresult cuEventRecord(CUevent event, CUstream stream) {
    ENTER("cuEventRecord", CURRENT, U(event), U(stream));
    Stream *s = find_stream(stream);
    Event *e = find_object(EVENT, U(event));
    if (!s || !e || s->context != e->context) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if (s->capture) {
        if (s->capture->invalid) RETURN(CUDA_ERROR_STREAM_CAPTURE_INVALIDATED);
        e->capture = s->capture;
        e->stream = s;
        e->at = s->end;
        call_.record->graph = s->capture->graph->handle;
        RETURN(0);
    }
    e->capture = NULL;
    e->stream = s;
    e->generation++;
    Op op = {.kind = SIGNAL, .event = e, .generation = e->generation};
    e->at = s->end + 1;
    RETURN(push(s, op, call_.record));
}

CUresult cuEventQuery(CUevent event) {
    ENTER("cuEventQuery", INIT, U(event));
    Event *e = find_object(EVENT, U(event));
    if (!e) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if (e->capture) RETURN(refuse_capture(e->capture));
    CUresult refused = unsafe_call();
    if (refused) RETURN(refused);
    if (e->done == e->generation) RETURN(sticky);
    if (!settings.still) run_to(e->stream, e->stream->first + 1);
    RETURN(sticky ? sticky : CUDA_ERROR_NOT_READY);
}

CUresult cuEventSynchronize(CUevent event) {
    ENTER("cuEventSynchronize", INIT, U(event));
    Event *e = find_object(EVENT, U(event));
    if (!e) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if (e->capture) RETURN(refuse_capture(e->capture));
    if (e->stream) run_to(e->stream, e->at);
    RETURN(sticky);
}

CUresult cuEventElapsedTime_v2(float *ms, CUevent start, CUevent end) {
    ENTER("cuEventElapsedTime", INIT, U(start), U(end));
    Event *a = find_object(EVENT, U(start)), *b = find_object(EVENT, U(end));
    if (!a || !b || !a->stream || !b->stream) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if ((a->flags | b->flags) & CU_EVENT_DISABLE_TIMING) RETURN(CUDA_ERROR_INVALID_HANDLE);
    if (a->done != a->generation || b->done != b->generation) RETURN(CUDA_ERROR_NOT_READY);
    *ms = (float)(b->ms - a->ms);
    RETURN(sticky);
}

bool leave_capture(Capture *c) {
    bool unjoined = false;
    for (size_t i = 0; i < stream_count; i++) {
        Stream *s = streams[i];
        if (s->capture != c) continue;
        unjoined |= s->unjoined;
        s->capture = NULL;
        s->unjoined = false;
    }
    return unjoined;
}
