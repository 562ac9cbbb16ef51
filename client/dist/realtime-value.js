/*! caddy-realtime, Apache-2.0 */
import{Realtime as e}from"./realtime.acae5883d8.js";customElements.define("realtime-value",class extends HTMLElement{client=new e});
