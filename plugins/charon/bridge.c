/* SPDX-License-Identifier: GPL-2.0-or-later
 * One thread of ours connects, receives and sorts: answers go to the threads that wait for them, IKE datagrams to a
 * bounded queue, expire and acquire to charon's kernel interface, which only queues jobs. So that thread never waits for
 * anything but the socket.
 *
 * Locks: `lock` guards all fields below it; `sending` serialises writers and the closing of the descriptor. A thread that
 * holds both has taken `sending` first.
 */
#include "bridge.h"
#include "bridge_messages.h"

#include <errno.h>
#include <inttypes.h>
#include <poll.h>
#include <stddef.h>
#include <sys/eventfd.h>
#include <sys/socket.h>
#include <sys/un.h>
#include <unistd.h>

#include <collections/linked_list.h>
#include <daemon.h>
#include <threading/condvar.h>
#include <threading/mutex.h>
#include <threading/thread.h>

#define MESSAGE_MAX (128 * 1024)
#define PROTOCOL_VERSION 2
#define ANSWER_TIMEOUT_MS 3000
#define SEND_TIMEOUT_MS 1000
#define RECONNECT_MS 200
#define IKE_QUEUE_MAX 1024
#define SOCKET_BUFFER (4 * 1024 * 1024)

typedef struct private_bridge_t private_bridge_t;

/* A thread that waits for an answer; lives on that thread's stack. */
typedef struct {
	uint32_t request;
	Testudo__Bridge__Answer *answer;
	bool done;
} waiting_t;

typedef struct {
	uint32_t spi;
	uint8_t protocol;
	host_t *destination;
} installed_t;

struct private_bridge_t {
	bridge_t public;
	char *path;
	thread_t *thread;
	int stop;				/* eventfd: destroy() was called */
	mutex_t *sending;
	mutex_t *lock;
	condvar_t *answered;
	condvar_t *ike_arrived;
	int fd;					/* -1: not connected. Written with both locks held */
	uint32_t connection;	/* counts them */
	bool connected_once;	/* these two: only the thread that connects */
	bool complained;		/* one log line per outage */
	uint64_t instance;		/* of the node that holds our SAs; 0: none yet */
	uint32_t next_request;
	linked_list_t *waiting;	/* waiting_t */
	linked_list_t *ike;		/* packet_t */
	linked_list_t *sas;		/* installed_t */
	uint64_t dropped_in;
	uint64_t dropped_out;
};

/* ---- sending ---- */

/* Packs and sends. The packed form is wiped: it may hold keys. */
static bool send_message(private_bridge_t *this, const Testudo__Bridge__ToNode *message, int flags)
{
	size_t size = testudo__bridge__to_node__get_packed_size(message);
	ssize_t sent = -1;
	uint8_t *packed;

	if (size > MESSAGE_MAX)
	{
		errno = EMSGSIZE;
		return FALSE;
	}
	packed = malloc(size);
	testudo__bridge__to_node__pack(message, packed);
	this->sending->lock(this->sending);
	if (this->fd >= 0)
	{
		do
		{
			sent = send(this->fd, packed, size, flags | MSG_NOSIGNAL);
		}
		while (sent < 0 && errno == EINTR);
	}
	else
	{
		errno = ENOTCONN;
	}
	this->sending->unlock(this->sending);
	memwipe(packed, size);
	free(packed);
	return sent == (ssize_t)size;
}

static void wait_for_answer(private_bridge_t *this, waiting_t *waiting)
{
	timeval_t deadline;

	time_monotonic(&deadline);
	timeval_add_ms(&deadline, ANSWER_TIMEOUT_MS);
	while (!waiting->done)
	{
		if (this->answered->timed_wait_abs(this->answered, this->lock, deadline))
		{
			break;
		}
	}
}

METHOD(bridge_t, request, Testudo__Bridge__Answer*,
	private_bridge_t *this, Testudo__Bridge__ToNode *message, const char *what)
{
	waiting_t waiting = {};
	bool old;

	/* a cancelled thread would leave `waiting` in the list */
	old = thread_cancelability(FALSE);
	this->lock->lock(this->lock);
	do
	{
		waiting.request = ++this->next_request;
	}
	while (!waiting.request);
	this->waiting->insert_last(this->waiting, &waiting);
	this->lock->unlock(this->lock);

	message->request = waiting.request;
	if (!send_message(this, message, 0))
	{
		DBG1(DBG_KNL, "testudo: %s failed: node at %s is away: %s", what, this->path, strerror(errno));
		waiting.done = TRUE;
	}
	this->lock->lock(this->lock);
	wait_for_answer(this, &waiting);
	this->waiting->remove(this->waiting, &waiting, NULL);
	this->lock->unlock(this->lock);
	thread_cancelability(old);

	if (!waiting.done)
	{
		DBG1(DBG_KNL, "testudo: %s failed: node at %s did not answer within %d ms", what, this->path,
			 ANSWER_TIMEOUT_MS);
	}
	return waiting.answer;
}

METHOD(bridge_t, order, status_t,
	private_bridge_t *this, Testudo__Bridge__ToNode *message, const char *what)
{
	Testudo__Bridge__Answer *answer = request(this, message, what);
	status_t status = FAILED;

	if (answer)
	{
		if (answer->error && *answer->error)
		{
			DBG1(DBG_KNL, "testudo: node refused to %s: %s", what, answer->error);
		}
		else
		{
			status = SUCCESS;
		}
		testudo__bridge__answer__free_unpacked(answer, NULL);
	}
	return status;
}

METHOD(bridge_t, send_ike, status_t,
	private_bridge_t *this, packet_t *packet)
{
	Testudo__Bridge__ToNode message = TESTUDO__BRIDGE__TO_NODE__INIT;
	Testudo__Bridge__IkeDatagram ike = TESTUDO__BRIDGE__IKE_DATAGRAM__INIT;
	Testudo__Bridge__Host source, destination;
	chunk_t data = packet->get_data(packet);

	if (!bridge_host(&source, packet->get_source(packet)) || !bridge_host(&destination, packet->get_destination(packet)))
	{
		return FAILED;
	}
	ike.source = &source;
	ike.destination = &destination;
	ike.payload.data = data.ptr;
	ike.payload.len = data.len;
	message.message_case = TESTUDO__BRIDGE__TO_NODE__MESSAGE_IKE;
	message.ike = &ike;
	if (!send_message(this, &message, MSG_DONTWAIT))
	{
		this->lock->lock(this->lock);
		this->dropped_out++;
		DBG1(DBG_NET, "testudo: node at %s takes no IKE packet (%s), %" PRIu64 " dropped so far", this->path,
			 strerror(errno), this->dropped_out);
		this->lock->unlock(this->lock);
		return FAILED;
	}
	return SUCCESS;
}

/* ---- what the node says ---- */

METHOD(bridge_t, receive_ike, packet_t*,
	private_bridge_t *this)
{
	packet_t *packet = NULL;
	bool old;

	this->lock->lock(this->lock);
	thread_cleanup_push((thread_cleanup_t)this->lock->unlock, this->lock);
	old = thread_cancelability(TRUE);
	while (this->ike->remove_first(this->ike, (void**)&packet) != SUCCESS)
	{
		this->ike_arrived->wait(this->ike_arrived, this->lock);
	}
	thread_cancelability(old);
	thread_cleanup_pop(TRUE);
	return packet;
}

static void take_answer(private_bridge_t *this, Testudo__Bridge__ToCharon *message)
{
	enumerator_t *enumerator;
	waiting_t *waiting;

	this->lock->lock(this->lock);
	enumerator = this->waiting->create_enumerator(this->waiting);
	while (enumerator->enumerate(enumerator, &waiting))
	{
		if (!waiting->done && waiting->request == message->answer->request)
		{
			waiting->answer = message->answer;
			waiting->done = TRUE;
			message->answer = NULL;
			message->message_case = TESTUDO__BRIDGE__TO_CHARON__MESSAGE__NOT_SET;
			this->answered->broadcast(this->answered);
			break;
		}
	}
	enumerator->destroy(enumerator);
	this->lock->unlock(this->lock);
}

static void take_ike(private_bridge_t *this, const Testudo__Bridge__IkeDatagram *message)
{
	packet_t *packet = bridge_packet_of(message);

	if (!packet)
	{
		return;
	}
	this->lock->lock(this->lock);
	if (this->ike->get_count(this->ike) < IKE_QUEUE_MAX)
	{
		this->ike->insert_last(this->ike, packet);
		packet = NULL;
		this->ike_arrived->signal(this->ike_arrived);
	}
	else if (this->dropped_in++ % IKE_QUEUE_MAX == 0)
	{
		DBG1(DBG_NET, "testudo: charon is too slow for its IKE packets, %" PRIu64 " dropped so far",
			 this->dropped_in);
	}
	this->lock->unlock(this->lock);
	DESTROY_IF(packet);
}

static void take_expire(const Testudo__Bridge__Expire *message)
{
	host_t *destination = message->id ? bridge_host_of(message->id->destination) : NULL;

	if (destination)
	{
		charon->kernel->expire(charon->kernel, message->id->protocol, htonl(message->id->spi), destination,
							   message->hard);
		destination->destroy(destination);
	}
}

static void take_acquire(const Testudo__Bridge__Acquire *message)
{
	kernel_acquire_data_t data = {
		.src = bridge_selector_of(message->source),
		.dst = bridge_selector_of(message->destination),
	};

	charon->kernel->acquire(charon->kernel, message->reqid, &data);
	DESTROY_IF(data.src);
	DESTROY_IF(data.dst);
}

static void destroy_installed(installed_t *sa)
{
	sa->destination->destroy(sa->destination);
	free(sa);
}

/* The node that held our SAs is gone: charon deletes them, tells its peers, and negotiates new ones. */
static void give_up_sas(private_bridge_t *this)
{
	linked_list_t *lost;
	installed_t *sa;

	this->lock->lock(this->lock);
	lost = this->sas;
	this->sas = linked_list_create();
	this->lock->unlock(this->lock);
	if (lost->get_count(lost))
	{
		DBG1(DBG_KNL, "testudo: node has restarted, %d SAs are to be negotiated anew", lost->get_count(lost));
	}
	while (lost->remove_first(lost, (void**)&sa) == SUCCESS)
	{
		charon->kernel->expire(charon->kernel, sa->protocol, sa->spi, sa->destination, TRUE);
		destroy_installed(sa);
	}
	lost->destroy(lost);
}

static void take_welcome(private_bridge_t *this, const Testudo__Bridge__Welcome *message)
{
	bool other;

	this->lock->lock(this->lock);
	other = this->instance && this->instance != message->instance;
	this->instance = message->instance;
	this->lock->unlock(this->lock);
	if (other)
	{
		give_up_sas(this);
	}
}

static void dispatch(private_bridge_t *this, const uint8_t *data, size_t size)
{
	Testudo__Bridge__ToCharon *message = testudo__bridge__to_charon__unpack(NULL, size, data);

	if (!message)
	{
		DBG1(DBG_KNL, "testudo: message of %zu bytes from the node is malformed, ignored", size);
		return;
	}
	switch (message->message_case)
	{
		case TESTUDO__BRIDGE__TO_CHARON__MESSAGE_ANSWER:
			take_answer(this, message);
			break;
		case TESTUDO__BRIDGE__TO_CHARON__MESSAGE_IKE:
			take_ike(this, message->ike);
			break;
		case TESTUDO__BRIDGE__TO_CHARON__MESSAGE_EXPIRE:
			take_expire(message->expire);
			break;
		case TESTUDO__BRIDGE__TO_CHARON__MESSAGE_ACQUIRE:
			take_acquire(message->acquire);
			break;
		case TESTUDO__BRIDGE__TO_CHARON__MESSAGE_WELCOME:
			take_welcome(this, message->welcome);
			break;
		default:
			break;
	}
	testudo__bridge__to_charon__free_unpacked(message, NULL);
}

/* ---- SAs that the node holds for us ---- */

METHOD(bridge_t, remember_sa, void,
	private_bridge_t *this, uint32_t spi, uint8_t protocol, host_t *destination)
{
	installed_t *sa;

	INIT(sa,
		.spi = spi,
		.protocol = protocol,
		.destination = destination->clone(destination),
	);
	this->lock->lock(this->lock);
	this->sas->insert_last(this->sas, sa);
	this->lock->unlock(this->lock);
}

METHOD(bridge_t, forget_sa, void,
	private_bridge_t *this, uint32_t spi, uint8_t protocol, host_t *destination)
{
	enumerator_t *enumerator;
	installed_t *sa;

	this->lock->lock(this->lock);
	enumerator = this->sas->create_enumerator(this->sas);
	while (enumerator->enumerate(enumerator, &sa))
	{
		if (sa->spi == spi && sa->protocol == protocol && sa->destination->ip_equals(sa->destination, destination))
		{
			this->sas->remove_at(this->sas, enumerator);
			destroy_installed(sa);
			break;
		}
	}
	enumerator->destroy(enumerator);
	this->lock->unlock(this->lock);
}

/* ---- connection ---- */

METHOD(bridge_t, connection, uint32_t,
	private_bridge_t *this)
{
	uint32_t number;

	this->lock->lock(this->lock);
	number = this->fd >= 0 ? this->connection : 0;
	this->lock->unlock(this->lock);
	return number;
}

static int open_socket(private_bridge_t *this)
{
	struct sockaddr_un address = { .sun_family = AF_UNIX };
	struct timeval send_timeout = { .tv_sec = SEND_TIMEOUT_MS / 1000, .tv_usec = SEND_TIMEOUT_MS % 1000 * 1000 };
	int size = SOCKET_BUFFER;
	int fd;

	if (strlen(this->path) >= sizeof(address.sun_path))
	{
		errno = ENAMETOOLONG;
		return -1;
	}
	memcpy(address.sun_path, this->path, strlen(this->path) + 1);
	fd = socket(AF_UNIX, SOCK_SEQPACKET | SOCK_CLOEXEC, 0);
	if (fd < 0)
	{
		return -1;
	}
	/* as much as we are given; the default holds one message of the greatest size */
	if (setsockopt(fd, SOL_SOCKET, SO_SNDBUFFORCE, &size, sizeof(size)) != 0)
	{
		(void)setsockopt(fd, SOL_SOCKET, SO_SNDBUF, &size, sizeof(size));
	}
	if (setsockopt(fd, SOL_SOCKET, SO_SNDTIMEO, &send_timeout, sizeof(send_timeout)) != 0 ||
		connect(fd, (struct sockaddr*)&address, sizeof(address)) != 0)
	{
		int error = errno;
		close(fd);
		errno = error;
		return -1;
	}
	return fd;
}

static bool say_hello(private_bridge_t *this, bool starts)
{
	Testudo__Bridge__ToNode message = TESTUDO__BRIDGE__TO_NODE__INIT;
	Testudo__Bridge__Hello hello = TESTUDO__BRIDGE__HELLO__INIT;

	hello.version = PROTOCOL_VERSION;
	hello.daemon = "strongSwan " TESTUDO_STRONGSWAN_VERSION;
	hello.starts = starts;
	message.message_case = TESTUDO__BRIDGE__TO_NODE__MESSAGE_HELLO;
	message.hello = &hello;
	return send_message(this, &message, 0);
}

/* A new descriptor becomes visible to senders only together with its Hello, which must come first. */
static bool connect_node(private_bridge_t *this)
{
	int fd = open_socket(this);
	bool greeted;

	if (fd < 0)
	{
		if (!this->complained)
		{
			DBG1(DBG_KNL, "testudo: cannot connect to the node at %s: %s; trying on", this->path, strerror(errno));
			this->complained = TRUE;
		}
		return FALSE;
	}
	this->sending->lock(this->sending);
	this->lock->lock(this->lock);
	this->fd = fd;
	this->connection++;
	this->lock->unlock(this->lock);
	greeted = say_hello(this, !this->connected_once);		/* `sending` is recursive */
	this->connected_once |= greeted;
	this->sending->unlock(this->sending);
	this->complained = FALSE;
	DBG1(DBG_KNL, "testudo: connected to the node at %s", this->path);
	return greeted;
}

static void disconnect_node(private_bridge_t *this)
{
	enumerator_t *enumerator;
	waiting_t *waiting;

	this->sending->lock(this->sending);
	this->lock->lock(this->lock);
	close(this->fd);
	this->fd = -1;
	enumerator = this->waiting->create_enumerator(this->waiting);
	while (enumerator->enumerate(enumerator, &waiting))
	{
		waiting->done = TRUE;
	}
	enumerator->destroy(enumerator);
	this->answered->broadcast(this->answered);
	this->lock->unlock(this->lock);
	this->sending->unlock(this->sending);
	DBG1(DBG_KNL, "testudo: connection to the node at %s is gone", this->path);
}

/* TRUE: stop() was called. */
static bool pause_reconnect(private_bridge_t *this)
{
	struct pollfd stop = { .fd = this->stop, .events = POLLIN };

	return poll(&stop, 1, RECONNECT_MS) > 0;
}

/* Until the connection breaks or destroy() is called; TRUE in the latter case. */
static bool receive_all(private_bridge_t *this, uint8_t *buffer)
{
	struct pollfd fds[] = {
		{ .fd = this->stop, .events = POLLIN },
		{ .fd = this->fd, .events = POLLIN },
	};
	ssize_t size;

	while (TRUE)
	{
		if (poll(fds, countof(fds), -1) < 0 && errno != EINTR)
		{
			return FALSE;
		}
		if (fds[0].revents)
		{
			return TRUE;
		}
		size = recv(this->fd, buffer, MESSAGE_MAX, MSG_DONTWAIT);
		if (size > 0)
		{
			dispatch(this, buffer, size);
		}
		else if (size == 0 || (errno != EAGAIN && errno != EINTR))
		{
			return FALSE;
		}
	}
}

static void *serve(private_bridge_t *this)
{
	uint8_t *buffer = malloc(MESSAGE_MAX);
	bool stop = FALSE;

	thread_cancelability(FALSE);
	while (!stop)
	{
		if (this->fd < 0 && !connect_node(this))
		{
			if (this->fd >= 0)
			{
				disconnect_node(this);
			}
			stop = pause_reconnect(this);
			continue;
		}
		stop = receive_all(this, buffer);
		disconnect_node(this);
	}
	free(buffer);
	return NULL;
}

METHOD(bridge_t, destroy, void,
	private_bridge_t *this)
{
	uint64_t one = 1;

	if (this->thread && write(this->stop, &one, sizeof(one)) == sizeof(one))
	{
		this->thread->join(this->thread);
	}
	close(this->stop);
	this->ike->destroy_offset(this->ike, offsetof(packet_t, destroy));
	this->sas->destroy_function(this->sas, (void*)destroy_installed);
	this->waiting->destroy(this->waiting);
	this->answered->destroy(this->answered);
	this->ike_arrived->destroy(this->ike_arrived);
	this->lock->destroy(this->lock);
	this->sending->destroy(this->sending);
	free(this->path);
	free(this);
}

bridge_t *bridge_create(const char *path)
{
	private_bridge_t *this;

	INIT(this,
		.public = {
			.request = _request,
			.order = _order,
			.send_ike = _send_ike,
			.receive_ike = _receive_ike,
			.remember_sa = _remember_sa,
			.forget_sa = _forget_sa,
			.connection = _connection,
			.destroy = _destroy,
		},
		.path = strdup(path),
		.stop = eventfd(0, EFD_CLOEXEC),
		.sending = mutex_create(MUTEX_TYPE_RECURSIVE),
		.lock = mutex_create(MUTEX_TYPE_DEFAULT),
		.answered = condvar_create(CONDVAR_TYPE_DEFAULT),
		.ike_arrived = condvar_create(CONDVAR_TYPE_DEFAULT),
		.fd = -1,
		.waiting = linked_list_create(),
		.ike = linked_list_create(),
		.sas = linked_list_create(),
	);
	/* The first attempt here, so that a configuration loaded at once finds the node. */
	connect_node(this);
	this->thread = thread_create((thread_main_t)serve, this);
	if (!this->thread)
	{
		destroy(this);
		return NULL;
	}
	return &this->public;
}
