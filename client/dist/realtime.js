/*! caddy-realtime, Apache-2.0 */
var e=class extends EventTarget{e="idle";constructor(t="/rt/"){super(),this.url=new URL(t,document.baseURI)}};export{e as Realtime};
