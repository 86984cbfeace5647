// Sessions of a web shop, kept in a router as in Redis: Express with node-redis, in two processes that share them. The store does what
// connect-redis does: GET, SET with EX, EXPIRE, DEL, and SCAN with MGET for all of them.
//
//     connect_sessions.js ROUTER
'use strict';

const assert = require('assert');
const { fork } = require('child_process');
const crypto = require('crypto');
const cookie = require('cookie');
const signature = require('cookie-signature');
const express = require('express');
const { createClient } = require('redis');

const SECRET = 'known to the shop alone';
const PREFIX = 'sess:';
const TTL_S = 600;

async function connect(address) {
    const client = createClient({ url: `redis://${address}` });
    // A lost connection is no part of this session.
    client.on('error', (error) => { throw error; });
    await client.connect();
    return client;
}

class Store {
    constructor(client) {
        this.client = client;
    }

    async get(id) {
        const text = await this.client.get(PREFIX + id);
        return text === null ? null : JSON.parse(text);
    }

    set(id, session, ttl = TTL_S) {
        return this.client.set(PREFIX + id, JSON.stringify(session), { EX: ttl });
    }

    touch(id) {
        return this.client.expire(PREFIX + id, TTL_S);
    }

    destroy(id) {
        return this.client.del(PREFIX + id);
    }

    async keys() {
        const keys = new Set();
        for await (const key of this.client.scanIterator({ MATCH: `${PREFIX}*`, COUNT: 100 })) keys.add(key);
        return [...keys];
    }

    async all() {
        const keys = await this.keys();
        const texts = keys.length ? await this.client.mGet(keys) : [];
        return texts.filter((text) => text !== null).map((text) => JSON.parse(text));
    }

    async clear() {
        const keys = await this.keys();
        return keys.length ? this.client.del(keys) : 0;
    }
}

// Finds or begins the session of a request. Whoever changes it saves it before answering.
function sessions(store) {
    return async (request, response, next) => {
        try {
            const sent = cookie.parse(request.headers.cookie || '').sid;
            const id = sent ? signature.unsign(sent, SECRET) : false;
            const known = id ? await store.get(id) : null;
            request.id = known ? id : crypto.randomUUID();
            request.session = known || { visits: 0 };
            if (!known) response.setHeader('Set-Cookie', cookie.serialize('sid', signature.sign(request.id, SECRET)));
            next();
        } catch (error) {
            next(error);
        }
    };
}

const answer = (act) => (request, response, next) => act(request).then((body) => response.json(body), next);

async function shop(address) {
    const client = await connect(address);
    const store = new Store(client);
    const app = express();
    app.use(sessions(store));
    app.get('/visit', answer(async ({ id, session }) => {
        session.visits += 1;
        await store.set(id, session);
        return { visits: session.visits };
    }));
    app.get('/look', answer(async ({ id, session }) => {
        await store.touch(id);
        return { visits: session.visits };
    }));
    app.get('/guest', answer(async ({ id, session }) => {
        session.visits += 1;
        await store.set(id, session, 1);
        return { visits: session.visits };
    }));
    app.get('/leave', answer(async ({ id }) => ({ destroyed: await store.destroy(id) })));
    const server = app.listen(0, '127.0.0.1', () => process.send({ port: server.address().port }));
    // Also when the one who began it is gone.
    process.on('disconnect', () => process.exit(0));
    process.on('message', async () => {
        server.close();
        server.closeAllConnections();
        await client.quit();
        process.disconnect();
    });
}

// One visitor, who keeps the cookie.
class Visitor {
    constructor(cookies = undefined) {
        this.cookies = cookies;
    }

    get id() {
        return signature.unsign(cookie.parse(this.cookies).sid, SECRET);
    }

    async get(port, path) {
        const headers = this.cookies ? { cookie: this.cookies } : {};
        const response = await fetch(`http://127.0.0.1:${port}${path}`, { headers });
        const body = await response.text();
        assert.strictEqual(response.status, 200, body);
        this.cookies = response.headers.get('set-cookie') || this.cookies;
        return JSON.parse(body);
    }
}

async function sharedByAllProcesses(ports) {
    const visitor = new Visitor();
    for (let visit = 1; visit <= 6; visit++) {
        assert.deepStrictEqual(await visitor.get(ports[visit % 2], '/visit'), { visits: visit });
    }
    const forged = new Visitor(visitor.cookies.replace('sid=', 'sid=x'));
    assert.deepStrictEqual(await forged.get(ports[0], '/visit'), { visits: 1 }, 'a cookie of nobody begins a session');
}

async function manyAtOnce(ports) {
    const stroll = async (number) => {
        const visitor = new Visitor();
        for (let visit = 1; visit <= 10; visit++) {
            const { visits } = await visitor.get(ports[(number + visit) % 2], '/visit');
            assert.strictEqual(visits, visit, `visitor ${number}`);
        }
        return visitor.id;
    };
    const ids = await Promise.all(Array.from({ length: 50 }, (_, number) => stroll(number)));
    assert.strictEqual(new Set(ids).size, 50);
}

async function touchedAndDestroyed(ports, client) {
    const visitor = new Visitor();
    await visitor.get(ports[0], '/visit');
    const key = PREFIX + visitor.id;
    await client.expire(key, TTL_S / 2);
    assert((await client.ttl(key)) <= TTL_S / 2);
    assert.deepStrictEqual(await visitor.get(ports[1], '/look'), { visits: 1 });
    assert((await client.ttl(key)) > TTL_S / 2, 'who looks stays longer');

    assert.deepStrictEqual(await visitor.get(ports[1], '/leave'), { destroyed: 1 });
    assert.strictEqual(await client.exists(key), 0);
    assert.deepStrictEqual(await visitor.get(ports[0], '/visit'), { visits: 1 });
}

async function expired(ports, client) {
    const guest = new Visitor();
    await guest.get(ports[0], '/guest');
    const { cookies, id } = guest;
    while (await client.exists(PREFIX + id)) await new Promise((resolve) => setTimeout(resolve, 20));
    assert.deepStrictEqual(await guest.get(ports[1], '/visit'), { visits: 1 });
    assert.notStrictEqual(guest.cookies, cookies, 'another session');
}

async function listedAndCleared(ports, store) {
    await store.clear();
    const visitors = Array.from({ length: 20 }, () => new Visitor());
    await Promise.all(visitors.map((visitor, number) => visitor.get(ports[number % 2], '/visit')));
    const known = visitors.map((visitor) => PREFIX + visitor.id);
    assert.deepStrictEqual((await store.keys()).sort(), known.sort());
    assert.deepStrictEqual(await store.all(), Array(20).fill({ visits: 1 }));
    assert.strictEqual(await store.clear(), 20);
    assert.deepStrictEqual(await store.keys(), []);
    assert.deepStrictEqual(await visitors[0].get(ports[0], '/visit'), { visits: 1 });
}

async function main(address) {
    const shops = [0, 1].map(() => fork(__filename, [address, 'shop']));
    // A shop that falls takes the rest with it; nobody waits for what does not come.
    let over = false;
    shops.forEach((each) => each.on('exit', (code) => over || process.exit(code || 1)));
    const ports = await Promise.all(shops.map((each) => new Promise((resolve) => each.once('message', ({ port }) => resolve(port)))));
    const client = await connect(address);
    await sharedByAllProcesses(ports);
    await manyAtOnce(ports);
    await touchedAndDestroyed(ports, client);
    await expired(ports, client);
    await listedAndCleared(ports, new Store(client));
    over = true;
    const ends = shops.map((each) => new Promise((resolve) => each.once('exit', resolve)));
    shops.forEach((each) => each.send('end'));
    assert.deepStrictEqual(await Promise.all(ends), [0, 0]);
    await client.quit();
    console.log('fine');
}

const [address, role] = process.argv.slice(2);
process.on('unhandledRejection', (error) => { throw error; });
if (role === 'shop') shop(address);
else main(address);
