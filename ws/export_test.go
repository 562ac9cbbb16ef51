package ws

var AgreeOnDeflate = agreeOnDeflate
