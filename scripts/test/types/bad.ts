// Code that must not compile: each line after an @ts-expect-error has one fault.
import { Realtime } from 'caddy-realtime';
import { RealtimeSocket } from 'caddy-realtime/socket';

const realtime = new Realtime<{ orders: { no: number } }>();
// @ts-expect-error no such room
realtime.subscribe('order');
const orders = realtime.subscribe('orders');
// @ts-expect-error no such event
orders.addEventListener('mesage', () => {});
// @ts-expect-error no such field of the data
orders.addEventListener('message', ({ detail }) => detail.data.number);
// @ts-expect-error no such field of an envelope
orders.addEventListener('message', ({ detail }) => detail.date);
// @ts-expect-error no such reason
orders.addEventListener('gap', ({ detail }) => detail.reason === 'late');
// @ts-expect-error other data
realtime.publish('orders', 'text');
// @ts-expect-error no such option
realtime.publish('orders', { no: 1 }, { time: 1 });
// @ts-expect-error no such event
realtime.addEventListener('state', () => {});
// @ts-expect-error no such transport
new Realtime('/rt/', { transports: ['ws'] });
// @ts-expect-error a number
new RealtimeSocket('/rt/lobby').close('1000');
