// The smallest hub on Socket.IO. --expose-gc lets SIGUSR2 collect garbage.
const http = require('http').createServer()
const { Server } = require('socket.io')
const io = new Server(http, { transports: ['websocket'] })
io.on('connection', (socket) => {
  const room = socket.handshake.query.room
  socket.join(room)
  socket.on('m', (data) => io.to(room).emit('m', data))
})
process.on('SIGUSR2', () => global.gc())
http.listen(Number(process.argv[2]), '127.0.0.1', 4096)
